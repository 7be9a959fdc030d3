"""Session files of Claude Code, as its clients write them: several projects, turns, failures that get fixed, and tools
that always want what the prompt says. A model can learn to call them; nothing in them is anybody's."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tests.recorded_work import words

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
ASKS = (
    # what is asked, the tool, its argument, what the argument is made of
    ("Show me the file {0}.py.", "Read", "file_path", "{0}.py"),
    ("Where is {0} used?", "Grep", "pattern", "{0}"),
    ("Which files of {0} are there?", "Glob", "pattern", "{0}/*.py"),
    ("Run the tests of {0}.", "Bash", "command", "make test {0}"),
    ("Check the style of {0}.", "Bash", "command", "ruff check {0}"),
    ("What has changed in {0}?", "Bash", "command", "git diff {0}"),
)


def write(folder: Path, *, projects: int, sessions: int, turns: int = 3, seed: int = 0) -> Path:
    """A folder of projects, each with its session files."""
    rng = Random(seed)
    for project in range(projects):
        place = folder / f"-home-dev-{words(rng, 1)}-{project}"
        place.mkdir(parents=True)
        for number in range(sessions):
            session = str(uuid.UUID(int=rng.getrandbits(128), version=4))
            began = BEGAN + timedelta(hours=project * 100 + number)
            lines = _Session(session, f"/home/dev/{place.name.removeprefix('-home-dev-')}", began, rng)
            for turn in range(turns):
                lines.turn(*ASKS[(number + turn + project) % len(ASKS)])
            text = "".join(json.dumps(line) + "\n" for line in lines.told)
            (place / f"{session}.jsonl").write_text(text, encoding="utf-8")
    return folder


class _Session:
    """The lines of a session."""

    def __init__(self, session: str, cwd: str, began: datetime, rng: Random) -> None:
        self.told: list[dict[str, Any]] = []
        self._session, self._cwd, self._at, self._rng = session, cwd, began, rng
        self._parent: str | None = None

    def turn(self, asked: str, tool: str, argument: str, made_of: str) -> None:
        """A question, its call, which fails every third time and is then made right, and the answer."""
        thing = words(self._rng, 1) + words(self._rng, 1)
        self._prompt = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        self._say("user", asked.format(thing), promptSource="typed", origin={"kind": "human"})
        if self._rng.random() < 0.34:
            self._call(
                tool,
                {argument: made_of.format(thing[:-1])},
                f"No such thing: {thing[:-1]}. Did you mean {thing}?",
                failed=True,
            )
        found = words(self._rng, 25)
        self._call(tool, {argument: made_of.format(thing)}, found)
        self._say("assistant", [{"type": "text", "text": f"It says {' '.join(found.split()[:3])}."}])

    def _call(self, tool: str, given: dict[str, Any], result: str, *, failed: bool = False) -> None:
        id_ = f"toolu_{self._rng.getrandbits(64):016x}"
        self._say("assistant", [{"type": "tool_use", "id": id_, "name": tool, "input": given}])
        told = {
            "type": "tool_result",
            "tool_use_id": id_,
            "content": result,
            **({"is_error": True} if failed else {}),
        }
        self._say("user", [told], toolUseResult=f"Error: {result}" if failed else {"content": result})

    def _say(self, kind: str, content: Any, **more: Any) -> None:
        self._at += timedelta(seconds=2)
        own = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        message: dict[str, Any] = {"role": kind, "content": content}
        if kind == "assistant":
            message |= {
                "id": f"msg_{self._rng.getrandbits(64):016x}",
                "type": "message",
                "model": "claude-opus-5-5",
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 10, "output_tokens": 10},
            }
        self.told.append(
            {
                "parentUuid": self._parent,
                "isSidechain": False,
                "promptId": self._prompt,
                "type": kind,
                "message": message,
                "uuid": own,
                "timestamp": self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "userType": "external",
                "entrypoint": "cli",
                "cwd": self._cwd,
                "sessionId": self._session,
                "version": "2.1.330",
                "gitBranch": "main",
                **more,
            }
        )
        self._parent = own
