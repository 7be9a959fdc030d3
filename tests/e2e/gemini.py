"""The real Gemini CLI, run offline: it asks the stand-in of `gemini_api` for its turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e import npm
from tests.e2e.claude import end_group
from tests.e2e.gemini_api import serving
from tests.e2e.messages_api import ToolUse
from tests.e2e.npm import NotAvailableError
from tests.e2e.scripted import Script

VERSION = "0.61.0"


@dataclass(frozen=True)
class Result:
    """What one run of the client did."""

    session_id: str
    exit_code: int
    stdout: str
    stderr: str
    requests: list[dict[str, Any]]
    calls: list[ToolUse]
    """Every tool call that the model asked for. Gemini CLI puts the tool's name before its id."""
    chat: Path


def executable() -> Path:
    """The client's program for Node, installed first where it is missing. Raises NotAvailableError."""
    if shutil.which("node") is None:
        raise NotAvailableError("node is not installed")
    program = (
        npm.installed("@google/gemini-cli", VERSION, 100) / "@google" / "gemini-cli" / "bundle" / "gemini.js"
    )
    if not program.exists():
        raise NotAvailableError(f"@google/gemini-cli@{VERSION} holds no file bundle/gemini.js")
    return program


def sign_in(home: Path) -> None:
    """Leave settings as a user has them who chose an API key."""
    file = home / ".gemini" / "settings.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    chosen = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
    }
    file.write_text(json.dumps(chosen, indent=2), encoding="utf-8")


def run(
    home: Path, project: Path, script: Script, prompt: str, *arguments: str, timeout: float = 120.0
) -> Result:
    """Run `gemini -p prompt` in `project` with `home` as its HOME, and wait for its end.

    Raises AssertionError where the client asks for something that the script does not answer.
    """
    with serving(script) as api:
        process = subprocess.Popen(
            ["node", executable(), "-m", "gemini-2.5-flash", "--yolo", *arguments, "-p", prompt],
            cwd=project,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "TERM": "xterm",
                "SHELL": "/bin/bash",
                "LANG": "C.UTF-8",
                "GOOGLE_GEMINI_BASE_URL": api.url,
                "GEMINI_API_KEY": "not-a-key",
                "GEMINI_CLI_NO_RELAUNCH": "true",
                "GEMINI_CLI_TRUST_WORKSPACE": "true",
            },
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
    chats = list((home / ".gemini" / "tmp").glob("*/chats/session-*.jsonl"))
    assert chats, f"no chat: {stdout}{stderr}"
    latest = max(chats, key=lambda file: file.stat().st_mtime)
    with latest.open(encoding="utf-8") as lines:
        session_id = json.loads(next(lines))["sessionId"]
    return Result(session_id, process.returncode, stdout, stderr, api.requests, api.calls, latest)
