"""The real GitHub Copilot CLI, run offline: it asks the stand-in of `chat_api` for its turns.

The client is proprietary, so it is not in the repository: npm brings it, once, into a cache folder.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e import npm
from tests.e2e.chat_api import serving
from tests.e2e.claude import end_group
from tests.e2e.messages_api import ToolUse
from tests.e2e.npm import NotAvailableError
from tests.e2e.scripted import Script

VERSION = "1.0.102"


@dataclass(frozen=True)
class Result:
    """What one run of the client did."""

    session_id: str
    exit_code: int
    stdout: str
    stderr: str
    requests: list[dict[str, Any]]
    calls: list[ToolUse]
    """Every tool call that the model asked for."""
    events: Path
    """The session's file."""


def executable() -> Path:
    """The client's binary, installed first where it is missing. Raises NotAvailableError."""
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    if machine is None or sys.platform not in ("linux", "darwin"):
        raise NotAvailableError(f"there is no package for {sys.platform} on {platform.machine()}")
    package = f"@github/copilot-{sys.platform}-{machine}"
    binary = npm.installed(package, VERSION, 80) / package / "copilot"
    if not binary.exists():
        raise NotAvailableError(f"{package}@{VERSION} holds no file copilot")
    return binary


def run(
    home: Path, project: Path, script: Script, prompt: str, *arguments: str, timeout: float = 180.0
) -> Result:
    """Run `copilot -p prompt` in `project` with `home` as its HOME, and wait for its end.

    Raises AssertionError where the client asks for something that the script does not answer.
    """
    sessions = home / ".copilot" / "session-state"
    with serving(script) as api:
        process = subprocess.Popen(
            [executable(), "--allow-all-tools", "--allow-all-paths", "--no-color", *arguments, "-p", prompt],
            cwd=project,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "TERM": "xterm",
                "SHELL": "/bin/bash",
                "LANG": "C.UTF-8",
                "COPILOT_OFFLINE": "true",
                "COPILOT_AUTO_UPDATE": "false",
                "COPILOT_PROVIDER_BASE_URL": f"{api.url}/v1",
                "COPILOT_PROVIDER_API_KEY": "not-a-key",
                "COPILOT_MODEL": "gpt-4.1",
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
    files = list(sessions.glob("*/events.jsonl"))
    assert files, f"no session file: {stdout}{stderr}"
    latest = max(files, key=lambda file: file.stat().st_mtime)
    return Result(latest.parent.name, process.returncode, stdout, stderr, api.requests, api.calls, latest)
