"""The real Codex CLI, run offline: it asks the stand-in of `responses_api` for its turns."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e import npm
from tests.e2e.claude import end_group
from tests.e2e.messages_api import ToolUse
from tests.e2e.npm import NotAvailableError
from tests.e2e.responses_api import serving
from tests.e2e.scripted import Script

VERSION = "0.169.0"
PLAIN = "gpt-5.5"
"""A model to which Codex offers its tools one by one. The model's name decides it."""
WITH_SUBAGENTS = "gpt-5.2-codex"
"""A model to which it also offers to spawn agents."""
CODE_MODE = "gpt-6-sol"
"""A model that acts through scripts alone: one tool, `exec`, which takes JavaScript that calls the others."""


@dataclass(frozen=True)
class Result:
    """What one run of the client did."""

    session_id: str
    exit_code: int
    stdout: str
    stderr: str
    requests: list[dict[str, Any]]
    calls: list[ToolUse]
    """Every tool call that the model asked for. Codex keeps its id."""
    rollouts: list[Path]
    """The session's file, and behind it those of its subagents."""


def executable() -> Path:
    """The client's binary, installed first where it is missing. Raises NotAvailableError."""
    modules = npm.installed("@openai/codex", VERSION, 400)
    binaries = list(modules.glob("@openai/codex-*/vendor/*/bin/codex"))
    if not binaries:
        raise NotAvailableError(f"@openai/codex@{VERSION} holds no binary for this machine")
    return binaries[0]


def run(
    home: Path,
    project: Path,
    script: Script,
    prompt: str,
    *arguments: str,
    model: str = PLAIN,
    timeout: float = 120.0,
) -> Result:
    """Run `codex exec prompt` in `project` with `home` as its HOME, and wait for its end. `arguments` come before the
    prompt: `("resume", session_id)` goes on with a session.

    Raises AssertionError where the client asks for something that the script does not answer.
    """
    sessions = home / ".codex" / "sessions"
    before = _sizes(sessions)
    with serving(script) as api:
        settings = {
            "model": model,
            "model_provider": "stand-in",
            "model_providers.stand-in.name": "stand-in",
            "model_providers.stand-in.base_url": f"{api.url}/v1",
            "model_providers.stand-in.wire_api": "responses",
            "model_providers.stand-in.env_key": "STAND_IN_KEY",
            "model_providers.stand-in.request_max_retries": 0,
            "model_providers.stand-in.stream_max_retries": 0,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={json.dumps(value)}")]
        process = subprocess.Popen(
            [
                *(
                    executable(),
                    "exec",
                    "--skip-git-repo-check",
                    "--dangerously-bypass-approvals-and-sandbox",
                ),
                *(*options, *arguments, prompt),
            ],
            cwd=project,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        finally:
            end_group(process)
    assert not api.unscripted, f"not in the script: {api.unscripted}"
    written = [file for file, size in _sizes(sessions).items() if before.get(file) != size]
    assert written, f"no rollout: {stdout}{stderr}"
    heads = {file: _head(file) for file in written}
    written.sort(key=lambda file: (heads[file]["id"] != heads[file]["session_id"], file.name))
    session_id = str(heads[written[0]]["session_id"])
    return Result(session_id, process.returncode, stdout, stderr, api.requests, api.calls, written)


def environment(home: Path) -> dict[str, str]:
    """A user's environment, whole, in which `home` is HOME."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TERM": "xterm",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "STAND_IN_KEY": "not-a-key",
    }


def trust_hooks(home: Path, project: Path) -> list[dict[str, Any]]:
    """Do what a user does with `/hooks`: trust every hook that is there, through Codex itself. Returns them as Codex
    lists them afterwards."""
    (home / ".codex").mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [executable(), "app-server"],
        cwd=project,
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        _ask(process, "initialize", clientInfo={"name": "test", "version": "1"})
        hooks = _ask(process, "hooks/list", cwds=[str(project)])["data"][0]["hooks"]
        state = {hook["key"]: {"trusted_hash": hook["currentHash"]} for hook in hooks}
        edit = {"keyPath": "hooks.state", "value": state, "mergeStrategy": "upsert"}
        _ask(process, "config/batchWrite", edits=[edit], reloadUserConfig=True)
        listed: list[dict[str, Any]] = _ask(process, "hooks/list", cwds=[str(project)])["data"][0]["hooks"]
        return listed
    finally:
        end_group(process)


def _ask(process: subprocess.Popen[str], method: str, **params: Any) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"id": method, "method": method, "params": params}) + "\n")
    process.stdin.flush()
    for line in process.stdout:
        answer = json.loads(line)
        if answer.get("id") == method:
            assert "result" in answer, answer
            return answer["result"]
    raise AssertionError(f"Codex ended without an answer to {method}")


def _head(rollout: Path) -> dict[str, Any]:
    with rollout.open(encoding="utf-8") as lines:
        head: dict[str, Any] = json.loads(next(lines))["payload"]
    return head


def _sizes(folder: Path) -> dict[Path, int]:
    sizes = {}
    for file in folder.rglob("rollout-*.jsonl"):
        with suppress(FileNotFoundError):
            sizes[file] = file.stat().st_size
    return sizes
