"""Whole transcripts of Claude Code, ours and real ones, against the hooks and against a counter of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory.agents import json_lines
from agent_memory.agents.claude_code import payload, reasons, transcript
from agent_memory.agents.json_lines import Line
from agent_memory.database import Connection
from agent_memory.journal.event import AssistantMessage, Event, Prompt, ToolCall, TurnEnd
from agent_memory.journal.ingest import ingest
from agent_memory.settings import Settings

FIXTURES = Path(__file__).parent.parent / "fixtures" / "claude_code"
MODERN = FIXTURES / "5b0e6a52-7c1d-4a37-9d62-1f3b8c2e9a10.jsonl"
SUBAGENT = next((FIXTURES / MODERN.stem / "subagents").glob("*.jsonl"))
OLD = FIXTURES / "0d9c4f7e-2b6a-4c55-8e11-6a7d3f0b2c48.jsonl"


def events(*files: Path) -> list[Event]:
    return [event for file in files for line in transcript.read(file) for event in line.events]


def hook_events(lines: Iterable[tuple[dict[str, Any], datetime]]) -> list[Event]:
    return [event for given, at in lines for event in payload.events(given, at)]


def our_hook_events() -> list[Event]:
    records = [
        json.loads(line) for line in (FIXTURES / "hooks.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return hook_events((record["payload"], datetime.fromisoformat(record["at"])) for record in records)


def calls(told: Iterable[Event]) -> dict[tuple[str, str], dict[str, Any]]:
    """Each call by its key, merged from its beginning and its end."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for event in told:
        if isinstance(event.body, ToolCall):
            fields = {
                name: getattr(event.body, name) for name in event.body.__slots__ if name != "duration_ms"
            }
            fields |= {
                "prompt": event.prompt_id,
                "agent": event.subagent_id,
                "agent_type": event.subagent_type,
            }
            row = merged.setdefault((event.session_id, event.body.tool_use_id), {})
            row.update({name: value for name, value in fields.items() if value is not None})
    return merged


def texts(told: Iterable[Event], kind: type[Prompt | AssistantMessage]) -> set[tuple[str, ...]]:
    return {
        (event.session_id, event.prompt_id or "", event.subagent_id or "", event.body.kind, event.body.text)
        for event in told
        if isinstance(event.body, kind)
    }


def ends(told: Iterable[Event]) -> set[tuple[str, ...]]:
    return {
        (e.session_id, e.prompt_id or "", e.body.error or "") for e in told if isinstance(e.body, TurnEnd)
    }


def agree(hooks: list[Event], told: list[Event]) -> None:
    """What the hooks told, the transcript tells under the same keys and with the same texts."""
    assert calls(hooks) == calls(told) != {}
    assert texts(hooks, Prompt) <= texts(told, Prompt)
    assert texts(hooks, AssistantMessage) <= texts(told, AssistantMessage)
    assert ends(hooks) <= ends(told)
    # What only a transcript tells: local commands, subagents' prompts, and what was said between the calls.
    assert {kind for _, _, _, kind, _ in texts(told, Prompt) - texts(hooks, Prompt)} <= {
        "command",
        "subagent",
    }


def test_every_line_is_told_or_has_a_reason() -> None:
    for file in (MODERN, SUBAGENT, OLD):
        lines = list(transcript.read(file))
        assert all(line.events or line.skipped for line in lines)
        assert [line.end for line in lines] == line_ends(file)


def test_the_hooks_and_the_transcript_tell_the_same() -> None:
    told = events(MODERN, SUBAGENT)
    heard = [event for event in told if not is_rejection(event)]
    assert len(told) - len(heard) == 1  # our sample's hooks do not tell of the rejection
    agree(our_hook_events(), heard)


def is_rejection(event: Event) -> bool:
    return isinstance(event.body, ToolCall) and "rejected by the user" in (event.body.error or "")


def test_the_hooks_and_the_transcript_make_the_same_rows(conn: Connection) -> None:
    settings = Settings()
    told = events(MODERN, SUBAGENT)
    first = ingest(conn, our_hook_events(), settings)
    assert (first.sessions, first.prompts, first.tool_calls) == (1, 5, 8)
    added = ingest(
        conn, told, settings
    )  # a local command, a subagent's prompt, what was said between the calls
    assert (added.sessions, added.prompts, added.tool_calls, added.assistant_messages) == (0, 2, 0, 2)
    again = ingest(conn, told, settings)
    assert (again.sessions, again.prompts, again.tool_calls, again.assistant_messages) == (0, 0, 0, 0)
    kinds = Counter(row["kind"] for row in conn.execute("select kind from mem_user_prompts"))
    assert kinds == {"user": 4, "task_notification": 1, "subagent": 1, "command": 1}
    unlinked = conn.execute(
        "select from mem_tool_calls t where not exists (select from mem_user_prompts p"
        " where p.session_id = t.session_id and p.id = t.prompt_id)"
    )
    assert unlinked.rowcount == 0


def test_nothing_that_we_injected_is_recorded() -> None:
    told = [*events(MODERN, SUBAGENT), *our_hook_events()]
    assert "agent-memory note" in MODERN.read_text(encoding="utf-8")
    assert "agent-memory note" not in repr(told)
    assert "Launch-time offset" not in repr(told)


def test_an_old_session_is_read_with_its_subagent_its_true_usage_and_its_broken_lines() -> None:
    told = events(OLD)
    first = next(e for e in told if isinstance(e.body, AssistantMessage))
    assert isinstance(first.body, AssistantMessage)
    assert first.body.text == "I measure it.\u2028With a tape."
    assert first.body.usage == {"input_tokens": 5, "output_tokens": 212}
    main = next(e.prompt_id for e in told if isinstance(e.body, Prompt))
    inner = next(e for e in told if isinstance(e.body, ToolCall) and e.body.name == "Bash")
    assert (inner.prompt_id, bool(inner.subagent_id)) == (main, True)
    assert [e.body.text for e in told if isinstance(e.body, Prompt)] == [
        "How long is the kite string?",
        "Measure the string.",
        "!",
        "a flag ?",
        "! ls kites",
    ]
    counted = json_lines.tally(transcript.read(OLD))
    assert counted[f"skipped: {reasons.MALFORMED}"] == 2
    assert counted[f"skipped: {reasons.OLD_SUMMARY}"] == 1


def test_the_tally_counts_what_was_told_and_what_was_not() -> None:
    assert json_lines.tally(transcript.read(SUBAGENT)) == {
        "prompt: subagent": 1,
        f"skipped: {reasons.ATTACHMENT}": 1,
        "message": 2,
        "tool call": 1,
        "tool result": 1,
        "turn end": 1,
    }


def test_reading_on_from_any_line_tells_the_rest_and_nothing_else() -> None:
    for file in (MODERN, SUBAGENT, OLD):
        whole = list(transcript.read(file))
        for index, line in enumerate(whole):
            assert list(transcript.read(file, line.end)) == whole[index + 1 :]


def test_a_growing_file_is_told_once_line_by_line(tmp_path: Path) -> None:
    content = MODERN.read_bytes()
    file = tmp_path / MODERN.name
    told: list[Line] = []
    for size in [*range(0, len(content), 997), len(content)]:
        file.write_bytes(content[:size])
        told += transcript.read(file, told[-1].end if told else 0)
    assert [strip_path(line) for line in told] == [strip_path(line) for line in transcript.read(MODERN)]


def strip_path(line: Line) -> tuple[int, list[str], tuple[str, ...]]:
    return line.end, [repr(event.body) + str(event.prompt_id) for event in line.events], line.skipped


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    first, second = MODERN.read_bytes().splitlines(keepends=True)[3:5]
    file = tmp_path / "s.jsonl"
    file.write_bytes(first + second[: len(second) // 2])
    assert [line.end for line in transcript.read(file)] == [len(first)]
    file.write_bytes(first + second.rstrip())  # whole, though its line does not end: an old file may end so
    assert [line.end for line in transcript.read(file)] == [len(first), len(first + second) - 1]


def test_a_file_that_was_written_anew_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(SUBAGENT.read_bytes())
    assert len(list(transcript.read(file, 1 << 20))) == 6


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        transcript.read(tmp_path / "gone.jsonl")


def line_ends(file: Path) -> list[int]:
    end, ends = 0, []
    for line in file.read_bytes().split(b"\n")[:-1]:
        end += len(line) + 1
        ends.append(end)
    return ends


# The real data


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[Path]:
    files = [
        *sorted((shared_data / "transcripts").rglob("*.jsonl")),
        *sorted((shared_data / "claude_code_2.1.330" / "transcripts").rglob("*.jsonl")),
    ]
    assert len(files) == 43
    return files


def test_hooks_and_transcripts_of_real_sessions_tell_the_same(shared_data: Path) -> None:
    folder = shared_data / "claude_code_2.1.330"
    recorded = [json.loads(line) for line in (folder / "hook_payloads.jsonl").read_text().splitlines()]
    hooks = hook_events((as_payload(r["stdin"]), datetime.fromtimestamp(r["t"], UTC)) for r in recorded)
    sessions = {event.session_id for event in hooks}
    told = [e for e in events(*(folder / "transcripts").rglob("*.jsonl")) if e.session_id in sessions]
    assert len(calls(hooks)) == 9
    agree(hooks, told)


def as_payload(stdin: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(stdin) if isinstance(stdin, str) else stdin
    return value


def test_every_line_of_every_real_file_is_told_or_explained(real: list[Path]) -> None:
    for file in real:
        lines = list(transcript.read(file))
        assert all(line.events or line.skipped for line in lines), file
        assert [line.end for line in lines] == line_ends(file), file
        unexplained = {reasons.UNKNOWN, reasons.BLOCK, reasons.ORPHAN, reasons.BESIDE_RESULT}
        assert not unexplained & {why for line in lines for why in line.skipped}, file


def test_every_real_file_counts_as_a_naive_counter_counts_it(real: list[Path]) -> None:
    total: Counter[str] = Counter()
    for file in real:
        counted = json_lines.tally(transcript.read(file))
        assert counted == naive(file), file
        total += counted
    assert sum(n for name, n in total.items() if name.startswith("prompt")) == 74
    assert (total["tool call"], total["tool result"], total["message"]) == (562, 559, 351)


def test_the_usage_of_every_real_response_is_its_last_lines(real: list[Path]) -> None:
    for file in real:
        told = [e.body.usage for e in events(file) if isinstance(e.body, AssistantMessage) and e.body.usage]
        assert sum(usage["output_tokens"] for usage in told) == naive_output_tokens(file), file


def test_reading_real_files_on_tells_the_rest(real: list[Path]) -> None:
    for file in real:
        whole = list(transcript.read(file))
        for index in {0, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
            assert list(transcript.read(file, whole[index].end)) == whole[index + 1 :], file


def naive(file: Path) -> Counter[str]:
    """What is in a file, counted without a memory of the conversation: by looking at each line for itself."""
    count: Counter[str] = Counter()
    seen: set[Any] = set()
    skip: Callable[[str], None] = lambda why: count.update([f"skipped: {why}"])  # noqa: E731

    def new(*key: Any) -> bool:
        fresh = key not in seen
        seen.add(key)
        if not fresh:
            skip(reasons.COPY)
        return fresh

    for line in file.read_bytes().split(b"\n")[:-1]:
        try:
            record = json.loads(line)
        except ValueError:
            skip(reasons.MALFORMED)
            continue
        kind = record["type"]
        if kind == "progress":
            skip(reasons.PROGRESS)
        elif kind == "summary":
            skip(reasons.OLD_SUMMARY)
        elif kind not in ("user", "assistant", "system", "attachment"):
            skip(reasons.METADATA)
        elif record.get("agentId", "").startswith("acompact-"):
            skip(reasons.HELPER)
        elif kind == "attachment":
            hook = record["attachment"]["type"].startswith("hook_")
            skip(reasons.HOOK_OUTPUT if hook else reasons.ATTACHMENT)
        elif kind == "system":
            if record["subtype"] == "turn_duration":
                count["turn end"] += 1
            else:
                skip(reasons.SYSTEM)
        elif record.get("isCompactSummary"):
            count["compact_summary"] += 1
        elif record.get("isMeta"):
            skip(reasons.META)
        else:
            content = record["message"]["content"]
            blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
            for block in blocks:
                if block["type"] == "tool_use" and new("call", block["id"]):
                    count["tool call"] += 1
                elif block["type"] == "tool_result" and new("result", block["tool_use_id"]):
                    count["tool result"] += 1
                elif block["type"] == "thinking":
                    skip(reasons.THINKING)
                elif block["type"] == "image":
                    skip(reasons.IMAGE)
                elif block["type"] == "text" and kind == "assistant":
                    count_message(record, block["text"].strip(), count, new, skip)
                elif (
                    block["type"] == "text"
                    and block["text"].startswith("<ide_opened_file>")
                    and len(blocks) > 1
                ):
                    skip(reasons.EDITOR_NOTE)
                elif block["type"] == "text":
                    count_typed(record, block["text"], count, new, skip)
            if all(block["type"] == "image" for block in blocks):
                count["prompt: user"] += 1
    return count


def count_message(
    record: dict[str, Any],
    words: str,
    count: Counter[str],
    new: Callable[..., bool],
    skip: Callable[[str], None],
) -> None:
    if record.get("isApiErrorMessage"):
        count["turn end"] += 1
    elif words == "No response requested.":
        skip(reasons.CLIENTS_TEXT)
    elif not words:
        skip(reasons.EMPTY)
    elif new("message", record["timestamp"], words):
        count["message"] += 1
        count["turn end"] += record["message"]["stop_reason"] == "end_turn"


def count_typed(
    record: dict[str, Any],
    words: str,
    count: Counter[str],
    new: Callable[..., bool],
    skip: Callable[[str], None],
) -> None:
    if words.startswith("<local-command-stdout>"):
        skip(reasons.COMMAND_OUTPUT)
    elif not new("typed", record["timestamp"], words):
        return
    elif words.startswith("[Request interrupted by user"):
        count["turn end"] += 1
    elif record.get("isSidechain"):
        count["prompt: subagent"] += 1
    elif words.startswith("<command-name>"):
        count["prompt: command"] += 1
    elif words.startswith("<task-notification>"):
        count["prompt: task_notification"] += 1
    else:
        count["prompt: user"] += 1


def naive_output_tokens(file: Path) -> int:
    """Of every response that says something: the output tokens that its last line counts."""
    last: dict[str, int] = {}
    says: set[str] = set()
    for line in file.read_bytes().split(b"\n"):
        if not line.startswith(b"{"):
            continue
        record = json.loads(line)
        if record["type"] != "assistant" or record.get("agentId", "").startswith("acompact-"):
            continue
        message = record["message"]
        if message["model"] != "<synthetic>":
            last[message["id"]] = message["usage"]["output_tokens"]
            if any(block["type"] == "text" and block["text"].strip() for block in message["content"]):
                says.add(message["id"])
    return sum(tokens for response, tokens in last.items() if response in says)
