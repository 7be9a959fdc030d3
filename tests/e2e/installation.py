"""One user's machine in a folder: a HOME, a git project, and agent-memory as its command line installs it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

from agent_memory.database import embedded, placement
from tests.conftest import isolate, remove_embedded
from tests.e2e import claude

COMMAND = Path(sys.executable).parent / "agent-memory"
PATIENCE = 60.0
"""Seconds that a condition gets to come true. Far more than it needs: the machine may be busy."""


@dataclass(frozen=True)
class Installation:
    home: Path
    """The user's HOME."""
    project: Path
    port: int

    @property
    def memory(self) -> Path:
        """The folder of everything of ours."""
        return self.home / ".agent-memory"

    def run(self, *arguments: str) -> str:
        """Run `agent-memory …` as the user would, and return what it printed. AssertionError on failure."""
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=self.project,
            env=claude.environment(self.home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"agent-memory {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def get(self, path: str, **query: Any) -> Any:
        """GET over the service's unix socket, which asks for no token."""
        return self._request("GET", path, params=query)

    def post(self, path: str, body: Any, *, agent: str | None = None) -> Any:
        """POST over the socket; `agent` names the agent that asks, if it is one."""
        return self._request("POST", path, json=body, headers={"x-agent-name": agent} if agent else {})

    def post_any(self, path: str, body: Any) -> None:
        """POST over the socket, whatever the answer's form is: a hook's may be empty."""
        with self._client() as client:
            client.post(path, json=body).raise_for_status()

    def status_of(self, path: str, body: Any) -> int:
        """POST what may be refused, and say how it went."""
        with self._client() as client:
            return client.post(path, json=body).status_code

    def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Every item of a list, page after page."""
        page = self.get(path, **query)
        found: list[dict[str, Any]] = page["items"]
        while page["next_cursor"] is not None:
            page = self.get(path, **query, cursor=page["next_cursor"])
            found += page["items"]
        return found

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Ask the database itself."""
        with psycopg.connect(self.conninfo(), row_factory=dict_row) as conn:
            return conn.execute(sql.encode(), values).fetchall()

    def dump(self) -> str:
        """The whole database as SQL."""
        program = placement.programs() / "pg_dump"
        done = subprocess.run(
            [program, "--dbname", self.conninfo()], capture_output=True, check=True, encoding="utf-8"
        )
        return done.stdout

    def files(self) -> Iterator[Path]:
        """Every file of ours, those of the database among them."""
        for folder in (self.memory, (self.memory / "postgres").resolve()):
            yield from (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())

    def service_pid(self) -> int:
        return int((self.memory / "service.pid").read_text(encoding="utf-8"))

    def answers(self) -> bool:
        """Whether the service answers."""
        with socket.socket(socket.AF_UNIX) as probe:  # httpx leaves a socket open where nobody listens
            if probe.connect_ex(str(self.memory / "service.sock")):
                return False
        self.get("/api/health")
        return True

    def processes(self) -> list[psutil.Process]:
        """Every process that was started in this HOME, and the database's."""
        signs = (str(self.home), str((self.memory / "postgres").resolve()))
        found: set[psutil.Process] = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = [*process.cmdline(), process.cwd(), process.environ().get("HOME", "")]
                if any(word.startswith(signs) for word in words):
                    found |= {process, *process.children(recursive=True)}
        return [process for process in found if _lives(process)]

    def conninfo(self) -> str:
        """Where its database is."""
        with pytest.MonkeyPatch.context() as patch:
            isolate(patch, self.home)
            return embedded.ensure_running()

    def _client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.memory / "service.sock"))
        return httpx.Client(transport=transport, base_url="http://localhost", timeout=30)

    def _request(self, method: str, path: str, **options: Any) -> Any:
        with self._client() as client:
            answer = client.request(method, path, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


@contextmanager
def installed(files: dict[str, str], *, connected: bool = True) -> Iterator[Installation]:
    """A user with a git project that holds `files`, with Claude Code connected. The service is not up yet.

    Whatever runs at the end is stopped, and everything is removed.
    """
    root = Path(tempfile.mkdtemp(prefix="am-"))  # short: a unix socket's path has 107 characters at most
    machine = Installation(root / "home", root / "webshop", free_port())
    machine.memory.mkdir(mode=0o700, parents=True)
    config = machine.memory / "config.toml"
    config.write_text(f"agent_memory_port = {machine.port}\n", encoding="utf-8")
    for name, content in files.items():
        file = machine.project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=machine.project, check=True)
    try:
        if connected:
            machine.run("connect", "claude")
        yield machine
    finally:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            machine.run("down")
        for process in machine.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        with pytest.MonkeyPatch.context() as patch:
            isolate(patch, machine.home)
            remove_embedded()
        shutil.rmtree(root)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def until(what: str, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until `condition` is true. AssertionError, naming `what`, where it does not come true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
