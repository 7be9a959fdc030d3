"""Made-up sessions that are told twice, as Claude Code does: by hook payloads and by a transcript."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CALLS_A_TURN = 7
START = 1_763_000_000  # seconds since 1970; each event is a second later than the one before


@dataclass
class Told:
    """What was told so far, by its natural key: what has to be in the journal in the end."""

    prompts: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)


def turns(session: int, count: int, folder: Path, told: Told) -> Iterator[dict[str, Any]]:
    """The hook payloads of one session with `count` turns, in order. The transcript's lines are written before the
    payload that tells the same."""
    name = f"crash-{session:05d}"
    transcript = folder / f"{name}.jsonl"
    base = {"session_id": name, "cwd": "/home/dev/crash", "transcript_path": str(transcript)}
    second = START + session * 10_000
    parent: str | None = None

    def write(kind: str, **more: Any) -> None:
        nonlocal parent, second
        second += 1
        uuid = f"{name}-{second}"
        line = {
            "type": kind,
            "uuid": uuid,
            "parentUuid": parent,
            "sessionId": name,
            "cwd": "/home/dev/crash",
            "version": "2.1.330",
            "isSidechain": False,
            "timestamp": _iso(second),
            **more,
        }
        parent = uuid
        with transcript.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    for turn in range(count):
        prompt = f"{name}-p{turn}"
        base["prompt_id"] = prompt
        text = f"Task {turn} of session {session}: tidy up the {turn * 7 % 13}th drawer"
        write("user", promptId=prompt, message={"role": "user", "content": text})
        told.prompts.add(prompt)
        yield base | {"hook_event_name": "UserPromptSubmit", "prompt": text}
        for number in range(CALLS_A_TURN):
            call = f"{prompt}-c{number}"
            given = {"command": f"make step-{number} SESSION={session}"}
            output = f"step {number} of {prompt}\n" * 20
            use = {"type": "tool_use", "id": call, "name": "Bash", "input": given}
            write("assistant", requestId=f"r-{call}", message=_message(f"m-{call}", [use]))
            result = {"type": "tool_result", "tool_use_id": call, "content": output}
            write(
                "user",
                promptId=prompt,
                message={"role": "user", "content": [result]},
                toolUseResult={"stdout": output, "stderr": "", "interrupted": False},
            )
            told.calls.add(call)
            yield base | {
                "hook_event_name": "PostToolUse",
                "tool_name": "Bash",
                "tool_input": given,
                "tool_response": {"stdout": output, "stderr": "", "interrupted": False},
                "tool_use_id": call,
            }
        said = f"Done with {prompt}."
        message = _message(f"m-{prompt}", [{"type": "text", "text": said}])
        write("assistant", requestId=f"r-{prompt}", message=message)
        told.messages.add(said)
        yield base | {"hook_event_name": "Stop", "last_assistant_message": said}


def _message(name: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 5}
    return {"id": name, "role": "assistant", "model": "claude-x", "content": content, "usage": usage}


def _iso(second: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
