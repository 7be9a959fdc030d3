"""What a session left open, told by rules from its last words."""

from __future__ import annotations

import pytest

from agent_memory.recall.open_ends import said_left, still_failing, todo_left, unanswered


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (
            "The importer works.\n\n### Next Steps\nThe remaining tasks are:\n- Wire the CLI flag\n"
            "- **Document** the format\n\nBoth are small.",
            "Wire the CLI flag; Document the format",
        ),
        ("Done so far: parser.\n\n**Remaining:** the error messages", "the error messages"),
        ("## Still open\n1. Retry on 429\n2. [ ] Log the request id", "Retry on 429; Log the request id"),
        ("TODO:\n- [x] parser\n- [ ] lexer", "lexer"),
        (
            "I mended the parser. The migration has not been run yet on staging.",
            "The migration has not been run yet on staging.",
        ),
        (
            "The cart still needs a test for an empty order.",
            "The cart still needs a test for an empty order.",
        ),
        ("All of it is done.\n\nNext steps: none", ""),
        ("Everything works, and the tests pass.", ""),
        ("If you want, let me know and I still have ideas for the follow-up.", ""),
        ("```\nnext = 5\n```\nThat is the value.", ""),
    ],
)
def test_what_is_said_to_be_left_is_found_and_courtesy_is_not(said: str, left: str) -> None:
    assert said_left(said) == left


def test_a_question_at_the_end_is_open_and_an_offer_is_not() -> None:
    assert unanswered("I see two ways.\n\nShould the old table be dropped as well?") == (
        "Should the old table be dropped as well?"
    )
    assert unanswered("Is there anything else that I can help you with?") == ""
    assert unanswered("Why did it fail? The disk was full, so I made room.") == ""


def test_a_list_of_things_to_do_tells_what_is_not_done() -> None:
    todos = [
        {"content": "Write the parser", "status": "completed"},
        {"content": "Write the lexer", "status": "in_progress"},
        {"step": "Write the docs", "status": "pending"},
        "noise",
    ]
    assert todo_left(todos) == "Write the lexer; Write the docs"
    assert todo_left(todos[:1]) == todo_left(None) == todo_left("x") == todo_left({"a": 1}) == ""


def test_only_a_check_that_was_not_mended_still_fails() -> None:
    text = (
        "Failed: `cat nothing`: No such file\nNot fixed in this turn.\n"
        "Failed 2 times: `pytest tests/cart`: 3 failed\nNot fixed in this turn.\n"
        "Failed: `make lint`: E501\nFixed: edited cart.py."
    )
    assert still_failing(text) == "`pytest tests/cart`: 3 failed"
    assert still_failing("Ran: `pytest`") == ""


def test_an_enormous_message_is_read_in_no_time() -> None:
    said_left("- " * 200_000)
    unanswered("a? " * 200_000)
    said_left("Next steps " * 20_000 + "\n" * 20_000)
