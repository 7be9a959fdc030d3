"""Promise 3, whole: one secret of each kind is put into every way in, then looked for in everything that is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from bench.redaction_corpus.carriers import CARRIERS, Planted, fits, plant
from bench.redaction_corpus.secrets import KINDS, make

from agent_memory import hook
from agent_memory.database import placement
from tests.e2e import claude
from tests.e2e.installation import COMMAND, Installation, installed, until

pytestmark = pytest.mark.timeout(600)

WAYS = ("hook", "transcript", "rest queue", "rest prompt", "rest note", "command line", "lesson", "mcp")
CARRIER = {kind.name: next(c for c in CARRIERS if fits(c, kind)) for kind in KINDS}
"""The first carrier of each kind: an `export` line; a key's file for private keys."""


def planted(way: str) -> list[Planted]:
    """A secret of each kind that no other way carries."""
    rng = Random(f"canary {way}")
    return [plant(CARRIER[kind.name], kind, make(kind, rng), rng) for kind in KINDS]


def lines(way: str) -> list[str]:
    return [f"{one.kind} by {way}: {one.text}" for one in planted(way)]


def hook_payloads() -> Iterator[dict[str, Any]]:
    """Each secret in a prompt, a call's input, its output, an error, and an agent's message."""
    for number, text in enumerate(lines("hook")):
        base = {"session_id": f"canary-{number}", "cwd": "/home/dev/canary", "prompt_id": f"p{number}"}
        call = {
            "tool_name": "Bash",
            "tool_input": {"command": text, "env": [{"text": text}]},
            "tool_use_id": f"c{number}",
        }
        yield base | {"hook_event_name": "UserPromptSubmit", "prompt": text}
        answered = {"stdout": text, "stderr": text}
        yield base | call | {"hook_event_name": "PostToolUse", "tool_response": answered}
        failed = call | {"tool_use_id": f"f{number}"}
        yield base | failed | {"hook_event_name": "PostToolUseFailure", "error": f"Exit code 1\n{text}"}
        yield base | {"hook_event_name": "Stop", "last_assistant_message": text}


def transcript(folder: Path) -> Path:
    """A session file of Claude Code's with all of them."""
    base = {"sessionId": "canary-file", "cwd": "/home/dev/canary", "version": "2.1.330", "isSidechain": False}
    rows = []
    for number, text in enumerate(lines("transcript")):
        at = f"2026-11-20T10:{number // 60:02}:{number % 60:02}.000Z"
        asked = {"uuid": f"u{number}", "timestamp": at, "promptId": f"tp{number}"}
        said = {"uuid": f"a{number}", "parentUuid": f"u{number}", "timestamp": at, "requestId": f"r{number}"}
        content = [
            {"type": "text", "text": text},
            {
                "type": "tool_use",
                "id": f"tc{number}",
                "name": "Write",
                "input": {"file_path": "/x", "content": text},
            },
        ]
        message = {
            "id": f"m{number}",
            "role": "assistant",
            "model": "claude",
            "content": content,
            "usage": {},
        }
        rows.append(base | asked | {"type": "user", "message": {"role": "user", "content": text}})
        rows.append(base | said | {"type": "assistant", "message": message})
    file = folder / ".claude" / "projects" / "canary" / "canary-file.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return file


def by_mcp(machine: Installation) -> None:
    """Notes and lessons as a model saves them, over the server that Claude Code would start."""
    requests: list[dict[str, Any]] = [
        {
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        },
        {"method": "notifications/initialized"},
    ]
    requests += [
        {
            "method": "tools/call",
            "params": {"name": "save_memory", "arguments": {"text": text, "title": text}},
        }
        for text in lines("mcp")
    ]
    server = subprocess.Popen(
        [COMMAND, "mcp"],
        cwd=machine.project,
        env=claude.environment(machine.home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        for number, request in enumerate(requests):
            is_call = not request["method"].startswith("notifications/")
            server.stdin.write(
                json.dumps({"jsonrpc": "2.0", **({"id": number} if is_call else {}), **request}) + "\n"
            )
            server.stdin.flush()
            if is_call:
                answer = json.loads(server.stdout.readline())
                assert "error" not in answer, answer
        server.stdin.close()


def plant_everywhere(machine: Installation) -> None:
    recorder = str(Path(hook.__file__))
    for payload in hook_payloads():
        subprocess.run(
            [sys.executable, "-I", "-S", recorder, "claude", str(machine.memory)],
            input=json.dumps(payload).encode(),
            check=True,
        )
    machine.run("backfill", str(transcript(machine.home)))
    for number, text in enumerate(lines("rest queue")):
        machine.post(
            "/api/queue",
            {
                "session_id": f"q{number}",
                "cwd": "/home/dev/canary",
                "hook_event_name": "UserPromptSubmit",
                "prompt": text,
            },
        )
    for text in lines("rest prompt"):
        machine.post("/api/prompts", {"session_id": "rest", "text": text, "cwd": "/home/dev/canary"})
    notes = [{"project": "/home/dev/canary", "text": text, "title": text} for text in lines("rest note")]
    machine.post("/api/observations", notes)
    machine.run("save", "\n\n".join(lines("command line")))
    for number, text in enumerate(lines("lesson")):
        # A rule has 280 characters at most; a key's file does not fit, and is refused before anything is stored.
        rule = {
            "title": text[:80],
            "rule": text,
            "trigger_tool": "Bash",
            "trigger_pattern": f"deploy {number} {text}",
        }
        machine.status_of("/api/lessons", rule)
    by_mcp(machine)


def unpacked(file: Path) -> str:
    """A file's text; a dump of Postgres's as SQL."""
    raw = file.read_bytes()
    if raw.startswith(b"PGDMP"):
        program = placement.programs() / "pg_restore"
        raw = subprocess.run([program, "--file", "-", file], capture_output=True, check=True).stdout
    return raw.decode("latin-1")


def leaks(secrets: dict[str, str], text: str) -> list[str]:
    return [name for name, secret in secrets.items() if secret in text]


def test_no_secret_of_any_kind_from_any_way_in_is_kept_anywhere() -> None:
    with installed({"README.md": "# Canary\n"}) as machine:
        machine.run("up", "--detach")
        plant_everywhere(machine)
        until("the spool is empty", lambda: machine.get("/api/health")["spool"]["pending"] == 0)
        until("every turn is remembered", lambda: machine.get("/api/health")["queue"]["pending"] == 0, 240)
        (written := machine.home / "export").mkdir()
        kept = machine.items("/api/prompts", session_id="rest")
        assert len(kept) == len(KINDS)  # what was planted did arrive
        machine.run("backup", "now")
        machine.run("export", "--out", str(written / "all.jsonl"))
        machine.run("finetune", "dataset", "--out", str(written / "set"))
        machine.run("down")
        secrets = {
            f"{one.kind} by {way}": piece
            for way in WAYS
            for one in planted(way)
            for piece in [one.form.strip().splitlines()[len(one.form.strip().splitlines()) // 2]]
        }
        assert len(secrets) == len(WAYS) * len(KINDS) > 500
        dump = machine.dump()
        for way in WAYS[:-2] + WAYS[-1:]:
            assert f"github-token by {way}: " in dump, way  # it did arrive, but for the secret
        assert leaks(secrets, dump) == []
        assert any(file.read_bytes().startswith(b"PGDMP") for file in machine.files())  # the backup
        found = []
        assert "[REDACTED:github-token]" in unpacked(written / "set" / "train.jsonl")
        for file in [*machine.files(), *filter(Path.is_file, written.rglob("*"))]:
            text = unpacked(file)
            found += [f"{name} in {file}" for name in leaks(secrets, text)]
        assert found == []
