"""The real Claude Code client, run offline: it asks the stand-in of `messages_api` for its turns.

The client is proprietary and 380 MB, so it is not in the repository: npm brings it, once, into a cache folder
that outlives the test run (`AGENT_MEMORY_TEST_CACHE`, or `~/.cache/agent-memory-tests` of the real user).
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.messages_api import Request, Script, ToolUse, serving
from tests.e2e.npm import NotAvailableError, installed

VERSION = "2.1.330"


@dataclass(frozen=True)
class Result:
    """What one run of the client did."""

    session_id: str
    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    """Wall time from the start of the process to its end."""
    requests: list[Request]
    """What the model was asked, the client's own helper requests among them."""
    calls: list[ToolUse]
    """Every tool call that the model asked for."""
    transcript: Path
    """The session's transcript; its subagents' ones lie under `transcript.with_suffix("")`."""


def executable() -> Path:
    """The client's binary, installed first where it is missing. Raises NotAvailableError."""
    package = f"@anthropic-ai/claude-code-{_platform()}"
    binary = installed(package, VERSION, megabytes=175) / package / "claude"
    if not binary.exists():
        raise NotAvailableError(f"{package}@{VERSION} holds no file claude")
    return binary


def run(
    home: Path,
    project: Path,
    script: Script,
    prompt: str,
    *arguments: str,
    timeout: float = 120.0,
) -> Result:
    """Run `claude -p prompt` in `project` with `home` as its HOME, and wait for its end.

    `arguments` are further ones of the client's. Nothing of this machine's environment reaches it but PATH.
    Raises AssertionError where the client asks for something that the script does not answer.
    """
    session_id = str(uuid.uuid4())
    if "--resume" in arguments:
        session_id = arguments[arguments.index("--resume") + 1]
    else:
        arguments = ("--session-id", session_id, *arguments)
    with serving(script) as api:
        started = time.monotonic()
        process = _start(home, project, api.url, prompt, *arguments)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
            seconds = time.monotonic() - started
        finally:
            end_group(process)
    assert not api.unscripted, f"not in the script: {api.unscripted}"
    transcripts = list((home / ".claude" / "projects").glob(f"*/{session_id}.jsonl"))
    assert len(transcripts) == 1, f"{len(transcripts)} transcripts of {session_id}: {stdout}{stderr}"
    return Result(
        session_id, process.returncode, stdout, stderr, seconds, api.requests, api.calls, transcripts[0]
    )


@contextlib.contextmanager
def running(
    home: Path, project: Path, script: Script, prompt: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A client at work for as long as the block lasts: its session's id, and its process."""
    session_id = str(uuid.uuid4())
    with serving(script) as api:
        process = _start(home, project, api.url, prompt, "--session-id", session_id)
        try:
            yield session_id, process
        finally:
            end_group(process)


def _start(home: Path, project: Path, url: str, prompt: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [executable(), "-p", prompt, "--dangerously-skip-permissions", *arguments],
        cwd=project,
        env=environment(home) | {"ANTHROPIC_BASE_URL": url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def environment(home: Path) -> dict[str, str]:
    """A user's environment, whole, in which `home` is HOME and no machine of Anthropic's is asked."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TERM": "xterm",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TMPDIR": tempfile.gettempdir(),
        "ANTHROPIC_API_KEY": "not-a-key",
        "IS_SANDBOX": "1",  # lets --dangerously-skip-permissions run as root
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def end_group(process: subprocess.Popen[str]) -> None:
    """End what the process left behind in its group, and itself where it still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _platform() -> str:
    """The suffix of the npm package for this machine, such as `linux-x64-musl`."""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower()
    )
    if machine is None or sys.platform not in ("linux", "darwin"):
        raise NotAvailableError(f"there is no package for {sys.platform} on {platform.machine()}")
    musl = sys.platform == "linux" and platform.libc_ver()[0] != "glibc"
    return f"{sys.platform}-{machine}{'-musl' if musl else ''}"
