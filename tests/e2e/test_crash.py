"""Promise 2 under kill -9: service, worker and Postgres die while 2,000 events wait; none is lost or doubled."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import agent_memory
from agent_memory import paths, running, settings
from agent_memory.database import embedded, server
from agent_memory.service import sockets
from tests.e2e.installation import COMMAND, free_port, until

EVENTS = 2_000
CALLS_A_PROMPT = 9

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def port(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_MEMORY_PORT", str(free_port()))


def spool_events() -> tuple[set[str], set[str]]:
    """2,000 files as the hook writes them. The prompts' ids and the calls' ids."""
    new = paths.make_private(paths.spool_new())
    prompts, calls = set(), set()
    for n in range(EVENTS):
        turn = n // (CALLS_A_PROMPT + 1)
        base = {"session_id": f"session-{turn % 40}", "cwd": "/home/dev/shop", "prompt_id": f"prompt-{turn}"}
        if n % (CALLS_A_PROMPT + 1) == 0:
            prompts.add(f"prompt-{turn}")
            payload: dict[str, Any] = base | {
                "hook_event_name": "UserPromptSubmit",
                "prompt": f"Task number {turn}: tidy up",
            }
        else:
            calls.add(f"call-{n}")
            payload = base | {
                "hook_event_name": "PostToolUse",
                "tool_name": "Bash",
                "tool_input": {"command": f"make step-{n}"},
                "tool_response": {"stdout": f"line {n}\n" * 100, "stderr": ""},
                "tool_use_id": f"call-{n}",
            }
        (new / f"{time.time_ns():020d}-1-{n:08x}.claude").write_text(json.dumps(payload), encoding="utf-8")
    return prompts, calls


def kill(pid: int | None) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def worker_pid(service: int) -> int | None:
    with contextlib.suppress(psutil.Error):
        return next((child.pid for child in psutil.Process(service).children()), None)
    return None


def postmaster_pid() -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((paths.postgres() / "data" / "postmaster.pid").read_text().splitlines()[0])
    return None


def start() -> int:
    """`agent-memory up --detach`, as often as it takes: Postgres may be dying just now."""
    until("the service starts", lambda: command("up", "--detach").returncode == 0)
    pid = running.process_id()
    assert pid is not None
    return pid


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_kill_9_of_service_worker_and_postgres_loses_and_doubles_nothing(port: None) -> None:
    prompts, calls = spool_events()
    rng = random.Random(7)
    killed: list[str] = []
    service = start()
    try:
        for victim in ("worker", "postgres", "service", "postgres", "service", "worker"):
            time.sleep(rng.uniform(0.05, 0.4))
            pending = len(os.listdir(paths.spool_new()))
            pid = {"worker": worker_pid(service), "postgres": postmaster_pid(), "service": service}[victim]
            kill(pid)
            killed.append(f"{victim} with {pending} waiting")
            if victim == "service":
                until("the killed service is gone", lambda: running.process_id() is None)
                service = start()
        until("the spool is empty", lambda: not os.listdir(paths.spool_new()), 120)
        until("the service is well again", running.answers)

        def turns_waiting() -> int:
            with running.client(timeout=10) as client:
                waiting = client.get("/api/health").json()["queue"]["pending"]
            return 1 if waiting is None else int(waiting)

        until("every turn is remembered", lambda: turns_waiting() == 0, 120)
        print(f"\nkilled: {', '.join(killed)}")
        with server.connect(server.conninfo(settings.load())) as conn:
            stored = [r["id"] for r in conn.execute("select id from mem_user_prompts")]
            made = [r["tool_use_id"] for r in conn.execute("select tool_use_id from mem_tool_calls")]
            remembered = [r["external_id"] for r in conn.execute("select external_id from mem_observations")]
            unindexed = conn.execute(
                "select count(*) as n from mem_observations o where not exists"
                " (select from mem_observation_chunks where observation_id = o.id)"
            ).fetchone()
        assert sorted(stored) == sorted(prompts)
        assert sorted(made) == sorted(calls)
        assert len(remembered) == len(set(remembered)) == len(prompts)
        assert unindexed == {"n": 0}
        assert not paths.spool_bad().exists() or not os.listdir(paths.spool_bad())
    finally:
        running.stop()
        embedded.stop()


def test_a_port_that_is_taken_is_said_with_what_to_do(port: None) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.load().agent_memory_port))
        other.listen()
        refused = command("up", "--detach")
    assert refused.returncode == 1
    assert "cannot be had: Address already in use" in refused.stderr
    assert "set AGENT_MEMORY_PORT" in refused.stderr
    assert running.process_id() is None


def test_what_is_wrong_is_said_when_the_next_session_starts(port: None) -> None:
    (paths.make_private(paths.spool_bad()) / "unreadable.claude").write_bytes(b"x")
    start()
    notice = paths.home() / "notice.json"
    until("the service has looked at itself", notice.exists)
    hook = Path(agent_memory.__file__).with_name("hook.py")
    said = subprocess.run(
        [sys.executable, "-I", "-S", hook, "claude", paths.home()],
        input=b'{"session_id": "s", "cwd": "/p", "hook_event_name": "SessionStart"}',
        capture_output=True,
        check=True,
    )
    line = json.loads(said.stdout)["systemMessage"]
    assert line.startswith("agent-memory: 1 events could not be read")
    assert "\n" not in line
    assert command("down").returncode == 0
    assert not notice.exists()


def test_a_postgres_that_dies_while_nothing_happens_is_started_again(port: None) -> None:
    start()
    kill(postmaster_pid())
    until("the database is noticed to be away", lambda: health() == "degraded")
    until("it is back", lambda: health() == "ok")
    assert command("down").returncode == 0


def health() -> str:
    with running.client(timeout=10) as client:
        return str(client.get("/api/health").json()["status"])


def test_the_worker_never_outlives_a_killed_service(port: None) -> None:
    service = start()
    until("the worker runs", lambda: worker_pid(service) is not None)
    worker = worker_pid(service)
    assert worker is not None
    kill(service)
    until(
        "the worker is gone",
        lambda: not psutil.pid_exists(worker) or psutil.Process(worker).status() == "zombie",
    )


def test_a_second_up_says_that_one_is_running_and_down_leaves_no_process(port: None) -> None:
    service = start()
    worker = worker_pid(service)
    again = command("up")
    assert again.returncode == 0
    assert f"runs already: {sockets.address(settings.load())} (process {service})" in again.stdout
    assert command("down").returncode == 0
    assert running.process_id() is None
    assert not embedded.running()
    assert not paths.service_socket().exists()
    for pid in (service, worker):
        assert pid is None or not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
