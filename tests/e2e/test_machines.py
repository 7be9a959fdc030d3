"""Several machines on one Postgres of the user's own: real services, each with its home, its worker and its spool."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from agent_memory import hook
from agent_memory.database import placement
from tests.e2e.external import External, Network, postgres
from tests.e2e.installation import COMMAND, Installation, installed, until

pytestmark = pytest.mark.timeout(600)

REMOTE = "git@github.com:shop/webshop.git"
PROJECT = "git:github.com/shop/webshop"


@dataclass
class Shop:
    """Two machines with a clone of one repository each, and the database that they share."""

    database: External
    laptop: Installation
    desk: Installation
    network: Network
    """Between the desk and the database."""

    @property
    def machines(self) -> Sequence[Installation]:
        return (self.laptop, self.desk)

    def caught_up(self) -> bool:
        """Whether nothing waits anywhere."""
        waiting = sum(len(list((one.memory / "spool/new").iterdir())) for one in self.machines)
        return not waiting and not self.database.number("select count(*) from mem_observation_queue")


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """Both services were started at the same moment, on an empty database."""
    if placement.is_root():
        placement._make_system_user()
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres())
        network = Network(database.port)
        stack.callback(network.close)
        laptop, desk = (
            stack.enter_context(installed({"README.md": "A shop.\n"}, connected=False)) for _ in range(2)
        )
        for machine, port in ((laptop, database.port), (desk, network.port)):
            with (machine.memory / "config.toml").open("a", encoding="utf-8") as config:
                config.write(f'database_url = "{database.url(port=port)}"\n')
            subprocess.run(["git", "remote", "add", "origin", REMOTE], cwd=machine.project, check=True)
        starting = [threading.Thread(target=one.run, args=("up", "--detach")) for one in (laptop, desk)]
        for thread in starting:
            thread.start()
        for thread in starting:
            thread.join()
        yield Shop(database, laptop, desk, network)


def tell(machine: Installation, payload: dict[str, Any], *, clock: float = 0.0) -> None:
    """Leave a payload in the machine's spool as its hook would, by a clock that is `clock` seconds off."""
    name = f"{time.time_ns() + int(clock * 1e9):020d}-1-{random.getrandbits(32):08x}.claude"
    draft = machine.memory / "spool/tmp" / name
    draft.write_text(json.dumps(payload), encoding="utf-8")
    draft.rename(machine.memory / "spool/new" / name)


def turn(machine: Installation, session: str, prompt: str, text: str, calls: int = 0) -> list[dict[str, Any]]:
    """A prompt and the calls that it led to."""
    base = {"session_id": session, "cwd": str(machine.project), "prompt_id": f"{session}-{prompt}"}
    prompted = base | {"hook_event_name": "UserPromptSubmit", "prompt": text}
    called = base | {"hook_event_name": "PostToolUse", "tool_name": "Bash"}
    return [
        prompted,
        *(
            called
            | {
                "tool_input": {"command": f"make step-{n}"},
                "tool_response": {"stdout": f"step {n} of {text}", "stderr": ""},
                "tool_use_id": f"toolu_{session}_{prompt}_{n}",
            }
            for n in range(calls)
        ),
    ]


def calls_stored(shop: Shop, like: str) -> Counter[str]:
    rows = shop.database.rows("select tool_use_id from mem_tool_calls where session_id like %s", like)
    return Counter(row["tool_use_id"] for row in rows)


def name_of(machine: Installation) -> str:
    return (machine.memory / "machine").read_text(encoding="utf-8").strip()


def test_what_many_write_on_two_machines_at_once_is_there_once(shop: Shop) -> None:
    expected: set[str] = set()
    told: list[tuple[Installation, list[dict[str, Any]], float]] = []
    for number in range(8):
        machine = shop.machines[number % 2]
        clock = (0.0, 60.0, -60.0)[number % 3]  # of whichever machine: it does not matter whose
        payloads = [
            payload
            for prompt in range(4)
            for payload in turn(machine, f"both-{number}", str(prompt), f"heron {number} {prompt}", calls=12)
        ]
        told.append((machine, payloads, clock))
        expected |= {payload["tool_use_id"] for payload in payloads if "tool_use_id" in payload}
    # One session's events reach both machines, as where its file was copied.
    told.append((shop.desk, told[0][1], 0.0))

    def write(machine: Installation, payloads: list[dict[str, Any]], clock: float) -> None:
        for payload in payloads:
            tell(machine, payload, clock=clock)

    writers = [threading.Thread(target=write, args=each) for each in told]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    until("both machines have caught up", shop.caught_up)
    assert calls_stored(shop, "both-%") == Counter(expected)
    turns = shop.database.rows(
        "select external_id, count(*) as n from mem_observations where external_id like 'turn/both-%%' group by 1"
    )
    assert Counter({row["external_id"]: row["n"] for row in turns}) == Counter(
        f"turn/both-{number}/both-{number}-{prompt}" for number in range(8) for prompt in range(4)
    )
    for machine in shop.machines:
        assert machine.get("/api/health")["spool"]["bad"] == 0


def test_one_repository_on_two_machines_is_one_project_and_its_memory_is_both(shop: Shop) -> None:
    for payload in turn(shop.desk, "desks", "1", "The ptarmigan cache needs a warm start", calls=2):
        tell(shop.desk, payload)
    for payload in turn(shop.laptop, "laptops", "1", "Where does the kestrel log go", calls=2):
        tell(shop.laptop, payload)
    until("both machines have caught up", shop.caught_up)
    machines = {
        row["id"]: row["machine"] for row in shop.database.rows("select id, machine from mem_sessions")
    }
    assert (machines["desks"], machines["laptops"]) == (name_of(shop.desk), name_of(shop.laptop))
    assert shop.laptop.get("/api/sessions/desks")["project"] == PROJECT
    assert shop.desk.get("/api/sessions/laptops")["project"] == PROJECT
    for asking, query, session in (
        (shop.laptop, "ptarmigan cache", "desks"),
        (shop.desk, "kestrel log", "laptops"),
    ):
        answer = asking.post("/api/recall", {"query": query, "project": str(asking.project)})
        assert [hit["session_id"] for hit in answer["hits"]][:1] == [session]
    shown = shop.laptop.run("status")
    assert name_of(shop.desk) in shown


def test_a_folder_without_a_remote_is_another_project_on_another_machine(shop: Shop) -> None:
    here, there = (shop.laptop, "place-laptop"), (shop.desk, "place-desk")
    for machine, session in (here, there):
        for payload in turn(machine, session, "1", f"something of {session}", calls=2):
            tell(machine, payload | {"cwd": "/srv/workspace"})
        until("both machines have caught up", shop.caught_up)
    assert shop.laptop.get("/api/sessions/place-laptop")["project"] == "path:/srv/workspace"
    assert (
        shop.laptop.get("/api/sessions/place-desk")["project"]
        == f"path:/srv/workspace on {name_of(shop.desk)}"
    )
    for machine, session in (here, there):
        answer = machine.post("/api/recall", {"query": "something", "project": "/srv/workspace"})
        assert {hit["session_id"] for hit in answer["hits"]} == {session}


def test_a_lesson_a_token_and_the_audit_log_are_every_machines(shop: Shop) -> None:
    lesson = {"title": "No force", "rule": "Never push with --force.", "severity": "critical"}
    lesson |= {"trigger_tool": "Bash", "trigger_pattern": "push --force", "status": "active"}
    shop.laptop.post("/api/lessons", lesson)
    asks = shop.desk.memory / "asks"
    until("the other machine's hooks ask", lambda: asks.exists() and "PreToolUse" in asks.read_text())
    token = shop.laptop.post("/api/admin/tokens", {"name": "ci", "scope": "read"})["token"]
    with httpx.Client(base_url=f"http://127.0.0.1:{shop.desk.port}") as tcp:
        headers = {"authorization": f"Bearer {token}"}
        assert tcp.get("/api/projects", headers=headers).status_code == 200
        shop.laptop.run("token", "revoke", "ci")
        assert tcp.get("/api/projects", headers=headers).status_code == 401
        owner = (shop.laptop.memory / "token").read_text(encoding="utf-8").strip()
        assert tcp.get("/api/projects", headers={"authorization": f"Bearer {owner}"}).status_code == 401
    log = shop.desk.items("/api/admin/audit")
    assert name_of(shop.laptop) in {row["machine"] for row in log if row["action"] == "token revoke"}


def test_a_machine_that_is_killed_leaves_its_turns_to_the_other(shop: Shop) -> None:
    payloads = [
        payload for n in range(40) for payload in turn(shop.desk, "killed", str(n), f"wagtail {n}", calls=2)
    ]
    for payload in payloads:
        tell(shop.desk, payload)
    until(
        "some turns are stored",
        lambda: bool(shop.database.number("select count(*) from mem_observation_queue")),
    )
    service = psutil.Process(shop.desk.service_pid())
    for process in [service, *service.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    # As if the time of its leases had gone by.
    shop.database.rows("update mem_observation_queue set leased_until = now() where leased_until is not null")
    until(
        "the other machine has built what was stored",
        lambda: not shop.database.number("select count(*) from mem_observation_queue"),
    )
    shop.desk.run("up", "--detach")
    until("both machines have caught up", shop.caught_up)
    assert calls_stored(shop, "killed") == Counter(
        payload["tool_use_id"] for payload in payloads if "tool_use_id" in payload
    )


def test_a_database_that_goes_away_loses_nothing(shop: Shop) -> None:
    expected = []
    shop.database.stop()
    for machine, session in ((shop.laptop, "away-laptop"), (shop.desk, "away-desk")):
        for payload in turn(machine, session, "1", "while it was away", calls=5):
            tell(machine, payload)
            expected += [payload["tool_use_id"]] if "tool_use_id" in payload else []
    until("the services say so", lambda: shop.laptop.get("/api/health")["status"] == "degraded")
    shop.database.start()
    until("both machines have caught up", shop.caught_up)
    assert calls_stored(shop, "away-%") == Counter(expected)


def test_a_slow_network_and_one_that_breaks_lose_nothing(shop: Shop) -> None:
    shop.network.delay = 0.03
    payloads = [p for n in range(3) for p in turn(shop.desk, "slow", str(n), f"slow {n}", calls=10)]
    for number, payload in enumerate(payloads):
        tell(shop.desk, payload)
        if number == len(payloads) // 2:
            shop.network.cut()
    shop.network.delay = 0.0
    until("both machines have caught up", shop.caught_up)
    assert calls_stored(shop, "slow") == Counter(p["tool_use_id"] for p in payloads if "tool_use_id" in p)


def test_a_program_that_is_older_than_the_database_writes_nothing_and_says_so(shop: Shop) -> None:
    until("both machines have caught up", shop.caught_up)
    before = shop.database.number("select count(*) from mem_tool_calls")
    newer = "9999_from_the_future"
    shop.database.rows(
        "insert into mem_schema_migrations (version, name, checksum) values (9999, %s, 'x')", newer
    )
    try:
        for payload in turn(shop.desk, "older", "1", "too old for this", calls=3):
            tell(shop.desk, payload)
        said = shop.desk.get("/api/health")
        assert said["status"] == "degraded"
        assert any(newer in problem for problem in said["problems"])
        assert shop.desk.status_of("/api/observations", {"project": "/srv/workspace", "text": "x"}) == 503
        done = subprocess.run(
            [COMMAND, "save", "A note"],
            cwd=shop.desk.project,
            env=os.environ | {"HOME": str(shop.desk.home), "AGENT_MEMORY_HOME": str(shop.desk.memory)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "newer agent-memory" in done.stderr
        assert "Upgrade" in done.stderr
        assert shop.database.number("select count(*) from mem_tool_calls") == before
        assert len(list((shop.desk.memory / "spool/new").iterdir())) == 4
        assert not list((shop.desk.memory / "spool/bad").glob("*")) or said["spool"]["bad"] == 0
    finally:
        shop.database.rows("delete from mem_schema_migrations where version = 9999")
    until("both machines have caught up", shop.caught_up)
    assert len(calls_stored(shop, "older")) == 3


def test_the_hook_of_each_machine_writes_to_its_own_spool(shop: Shop) -> None:
    payload = turn(shop.desk, "hooked", "1", "by the real hook")[0]
    done = subprocess.run(
        [sys.executable, "-I", "-S", hook.__file__, "claude", str(shop.desk.memory)],
        input=json.dumps(payload).encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    until(
        "it is stored",
        lambda: bool(shop.database.number("select count(*) from mem_sessions where id = 'hooked'")),
    )
    assert shop.laptop.get("/api/sessions/hooked")["machine"] == name_of(shop.desk)
