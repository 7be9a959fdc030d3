"""A project's history that has one of everything, told by the hooks' own way in: for tests of what is shown of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAIN, EARLIER, HOSTILE = "0a11ce00-main", "0a11ce00-earlier", "0a11ce00-hostile"
SUBAGENT = "sub-explore-1"
SCRIPT = "<script>document.title='owned'</script>"
IMAGE = '"><img src=x onerror="document.title=\'owned\'">'
HOSTILE_TEXTS = (
    SCRIPT,
    IMAGE,
    "javascript:document.title='owned'",
    "{{ 7 * 7 }} {% raw %}",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "user\u202egnp.exe \u2066isolated\u2069",
)

Post = Callable[[str, dict[str, Any]], Any]
"""POST a JSON object to a path of the service's, over whatever door."""


def record(post: Post, folder: str) -> None:
    """Three sessions: one with an edit, a failure, a subagent, a lesson that spoke and what the memory told; one before
    it; and one whose every text is hostile."""

    def hook(event: str, session: str = MAIN, /, **fields: Any) -> None:
        said = {"session_id": session, "cwd": folder, "hook_event_name": event, "prompt_id": "p1"} | fields
        post("/api/queue", said)

    def call(
        number: str, tool: str, given: dict[str, Any], response: Any, session: str = MAIN, **fields: Any
    ) -> None:
        what = {"tool_use_id": number, "tool_name": tool, "tool_input": given, "duration_ms": 1234}
        ended = {"error": response} if fields.pop("failed", False) else {"tool_response": response}
        event = "PostToolUseFailure" if "error" in ended else "PostToolUse"
        hook(event, session, **what | ended | fields)

    post(
        "/api/lessons",
        {
            "rule": "Run make migrate before make test: the tests need the newest tables.",
            "title": "Migrate before testing",
            "trigger_tool": "Bash",
            "trigger_pattern": "make test",
            "project": folder,
            "status": "active",
        },
    )
    hook("UserPromptSubmit", EARLIER, prompt="Which Postgres does staging run?")
    hook("Stop", EARLIER, last_assistant_message="Staging runs Postgres 16 behind pgbouncer on port 6432.")

    start = {"session_id": MAIN, "cwd": folder, "hook_event_name": "SessionStart", "source": "startup"}
    hook("SessionStart", source="startup", model="claude-opus-5")
    post("/api/hook", start)
    hook(
        "UserPromptSubmit",
        prompt="The voucher page shows the wrong total.\n\nFind out why and fix it, with a test.",
    )
    call("t1", "Read", {"file_path": f"{folder}/shop/voucher.py"}, {"file": {"content": "def total(): ..."}})
    call(
        "t2",
        "Edit",
        {
            "file_path": f"{folder}/shop/voucher.py",
            "old_string": "def total(cart):\n    price = sum(cart)\n    return price - cart.voucher\n",
            "new_string": "def total(cart):\n    price = sum(cart)\n    return max(price - cart.voucher, 0)\n",
        },
        {"filePath": "voucher.py", "success": True},
    )
    post(
        "/api/hook",
        {
            "session_id": MAIN,
            "cwd": folder,
            "hook_event_name": "PreToolUse",
            "prompt_id": "p1",
            "tool_name": "Bash",
            "tool_use_id": "t3",
            "tool_input": {"command": "make test"},
        },
    )
    trace = "\n".join(f"tests/test_voucher.py:{n}: in test_total_{n}" for n in range(40))
    call(
        "t3",
        "Bash",
        {"command": "make test", "description": "Run the tests"},
        f'Exit code 2\n{trace}\nrelation "vouchers" does not exist',
        failed=True,
    )
    call(
        "t4", "Bash", {"command": "make migrate"}, {"stdout": "migrated", "stderr": "", "interrupted": False}
    )
    call(
        "t5",
        "Bash",
        {"command": "make test"},
        {"stdout": "12 passed in 1.2s", "stderr": "", "interrupted": False},
    )
    call(
        "t6",
        "Agent",
        {"description": "Look for other totals", "prompt": "Find every total()", "subagent_type": "Explore"},
        {"content": [{"type": "text", "text": "Two more places."}]},
    )
    for number in range(3):
        call(
            f"s{number}",
            "Grep",
            {"pattern": f"total_{number}", "path": folder},
            "shop/cart.py:12",
            agent_id=SUBAGENT,
            agent_type="Explore",
            failed=number == 1,
        )
    call(
        "t7",
        "Write",
        {
            "file_path": f"{folder}/tests/test_voucher.py",
            "content": "from shop.voucher import total\n\n\ndef test_never_negative():\n    assert total([]) == 0\n",
        },
        {"type": "create", "success": True},
    )
    hook(
        "Stop",
        last_assistant_message="The total went below zero when the voucher was worth more than the cart. Fixed.",
    )
    hook("UserPromptSubmit", prompt="Commit it.", prompt_id="p2")
    call(
        "t8",
        "Bash",
        {"command": "git commit -am 'Never below zero'"},
        {"stdout": "[main 1234567] Never below zero", "stderr": ""},
        prompt_id="p2",
    )
    hook("Stop", last_assistant_message="Committed.", prompt_id="p2")

    for number, text in enumerate(HOSTILE_TEXTS):
        turn = {"prompt_id": f"h{number}"}
        hook("UserPromptSubmit", HOSTILE, prompt=text, **turn)
        for failed in (False, True):
            call(
                f"h{number}{failed}",
                text if number < 3 else "Bash",
                {"command": text, text: text},
                text,
                failed=failed,
                session=HOSTILE,
                **turn,
            )
        edit = {"file_path": text, "old_string": text, "new_string": text + "!"}
        call(f"h{number}e", "Edit", edit, {"success": True}, session=HOSTILE, **turn)
        hook("Stop", HOSTILE, last_assistant_message=text, **turn)
        post("/api/observations", {"project": folder, "text": f"heron {text}", "title": text})
    post("/api/sessions", {"id": HOSTILE, "git_branch": IMAGE, "model": SCRIPT, "cwd": folder})
