"""The real OpenCode client, run offline: it asks the stand-in of `chat_api` for its turns."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e import npm
from tests.e2e.chat_api import MODEL, serving
from tests.e2e.claude import end_group
from tests.e2e.messages_api import ToolUse
from tests.e2e.npm import NotAvailableError
from tests.e2e.scripted import Script

VERSION = "1.18.33"


@dataclass(frozen=True)
class Result:
    """What one run of the client did."""

    exit_code: int
    stdout: str
    stderr: str
    requests: list[dict[str, Any]]
    calls: list[ToolUse]
    """Every tool call that the model asked for. OpenCode keeps its id."""
    database: Path


def executable() -> Path:
    """The client's binary, installed first where it is missing. Raises NotAvailableError."""
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    if machine is None or sys.platform not in ("linux", "darwin"):
        raise NotAvailableError(f"there is no package for {sys.platform} on {platform.machine()}")
    package = f"opencode-{sys.platform}-{machine}"
    binary = npm.installed(package, VERSION, 60) / package / "bin" / "opencode"
    if not binary.exists():
        raise NotAvailableError(f"{package}@{VERSION} holds no file bin/opencode")
    return binary


def run(
    home: Path, project: Path, script: Script, prompt: str, *arguments: str, timeout: float = 180.0
) -> Result:
    """Run `opencode run prompt` in `project` with `home` as its HOME, and wait for its end.

    Raises AssertionError where the client asks for something that the script does not answer.
    """
    with serving(script) as api:
        process = subprocess.Popen(
            [executable(), "run", "--auto", *arguments, prompt],
            cwd=project,
            env=_environment(home, f"{api.url}/v1"),
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
    database = home / ".local" / "share" / "opencode" / "opencode.db"
    return Result(process.returncode, stdout, stderr, api.requests, api.calls, database)


def _environment(home: Path, url: str) -> dict[str, str]:
    """A user's environment, whole, in which the model is the stand-in and no registry is asked."""
    model = {"name": MODEL, "tool_call": True, "limit": {"context": 200_000, "output": 8_000}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "local",
        "options": {"baseURL": url, "apiKey": "not-a-key"},
        "models": {MODEL: model},
    }
    config = {
        "share": "disabled",
        "autoupdate": False,
        "model": f"local/{MODEL}",
        "small_model": f"local/{MODEL}",
        "enabled_providers": ["local"],
        "provider": {"local": provider},
    }
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TERM": "xterm",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "OPENCODE_CONFIG_CONTENT": json.dumps(config),
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_SHARE": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        # The client installs a package into its settings folder, and tries for 70 s where there is no network.
        "npm_config_registry": "http://127.0.0.1:9/",
        "npm_config_fetch_retries": "0",
    }
