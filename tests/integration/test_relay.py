"""The relay that an agent starts, with a service that lives, dies, hangs or is another's."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.test_mcp import NAMES, NOTE, talk, wait_until

from agent_memory import __version__, paths
from agent_memory.mcp import host, reach, relay
from agent_memory.mcp.memory import Memory
from agent_memory.service import sockets
from agent_memory.service.state import State
from agent_memory.settings import Settings

INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "claude-code", "version": "1"},
}

Json = dict[str, Any]


class Agent:
    """An agent that has started the relay in `folder`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "agent_memory.mcp"],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.number = 0

    def send(self, method: str, params: Json | None = None) -> int:
        assert self.process.stdin is not None
        self.number += 1
        message = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params or {}}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        return self.number

    def heard(self) -> Json:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the relay said nothing more"
        message: Json = json.loads(line)
        return message

    def ask(self, method: str, params: Json | None = None) -> Json:
        number = self.send(method, params)
        answer = self.heard()
        assert answer["id"] == number, answer
        return answer

    def begin(self) -> Json:
        answer = self.ask("initialize", INITIALIZE)
        assert self.process.stdin is not None
        self.process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        return answer

    def call(self, tool: str, **arguments: Any) -> str:
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})["result"]
        return str(result["content"][0]["text"])

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        assert self.process.stderr is not None
        assert self.process.stderr.read() == b""


@pytest.fixture
def start() -> Iterator[Callable[..., Agent]]:
    """Starts agents, and ends what is left of them."""
    started: list[Agent] = []

    def one(folder: Path, **environment: str) -> Agent:
        started.append(Agent(folder, **environment))
        return started[-1]

    yield one
    for agent in started:
        agent.process.kill()
        with contextlib.suppress(BrokenPipeError), agent.process:  # closes its pipes
            pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shop"


@contextlib.contextmanager
def serving(state: State) -> Iterator[None]:
    """The service's sessions, as `service.run` holds them."""
    paths.make_private(paths.home())
    with sockets.unix(paths.mcp_socket()) as listening, host.Host(state.settings, listening) as sessions:
        sessions.lend(host.Lent(state.pool, state.embedder))
        wait_until(reach.answers)
        yield


@pytest.fixture
def reachable(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of the relay's own uses this test's database too."""
    paths.make_private(paths.home())
    paths.config_file().write_text(f'database_url = "{database_url}"\n', encoding="utf-8")


class Scripted:
    """A service that answers the handshake, and dies of the first `dying` calls, or hangs in the first."""

    def __init__(self, dying: int = 0, *, hanging: bool = False, hello: Json | None = None) -> None:
        self.heard: list[Json] = []
        self.dying = dying
        self.hanging = hanging
        self.hello = hello or {"agent-memory": __version__, "refused": None}
        paths.make_private(paths.home())
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(paths.mcp_socket()))
        self.listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(connection,), daemon=True).start()

    def _session(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:
            hello = json.loads(stream.readline())
            stream.write(json.dumps(self.hello).encode() + b"\n")
            stream.flush()
            for line in stream:
                message = json.loads(line)
                self.heard.append(hello | message)
                if message["method"] == "tools/call" and self.hanging:
                    self.listening.close()  # whoever knocks now is told that nobody is there
                    threading.Event().wait(60)
                if message["method"] == "tools/call" and self.dying:
                    self.dying -= 1
                    stream.write(b'{"jsonrpc":"2.0","id":')  # torn
                    return
                if "id" in message:
                    answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"of": message["method"]}}
                    stream.write(json.dumps(answer).encode() + b"\n")
                    stream.flush()

    def methods(self) -> list[str]:
        return [message["method"] for message in self.heard]


def test_the_relay_imports_the_standard_library_alone() -> None:
    program = "import sys, agent_memory.mcp.relay; print(*(getattr(m, '__file__', '') for m in sys.modules.values()))"
    files = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, check=True, encoding="utf-8"
    ).stdout.split()
    ours = [Path(file).name for file in files if "agent_memory" in file]
    assert sorted(ours) == ["__init__.py", "__init__.py", "paths.py", "reach.py", "relay.py"]
    assert not [file for file in files if "site-packages" in file and "distutils" not in file]


def test_what_may_not_be_done_twice_is_what_destroys(database_url: str, folder: Path) -> None:
    with Memory(Settings(database_url=database_url), str(folder)) as memory:
        offered = talk(memory, lambda client: client.list_tools()).tools
    destroying = {t.name for t in offered if t.annotations and t.annotations.destructive_hint}
    assert destroying == relay.NOT_TWICE


def test_a_session_of_the_services_needs_no_process_of_its_own(
    state: State, folder: Path, start: Callable[..., Agent]
) -> None:
    with serving(state):
        agent = start(folder)
        assert agent.begin()["result"]["serverInfo"]["name"] == "agent-memory"
        tools = agent.ask("tools/list")["result"]["tools"]
        assert sorted(tool["name"] for tool in tools) == NAMES
        assert "Saved as" in agent.call("save_memory", text=NOTE)
        assert NOTE in agent.call("recall", query="which unit has LOGIN_TIMEOUT?")
        assert agent.children() == []
        agent.end()
    with state.pool.connection() as conn:
        (line,) = conn.execute("select who, action, target from mem_audit_log").fetchall()
    assert (line["who"], line["action"]) == ("mcp", "save_memory")


def test_a_session_reaches_its_own_folder_only(
    state: State, tmp_path: Path, start: Callable[..., Agent]
) -> None:
    with serving(state):
        shop, blog = start(tmp_path / "shop"), start(tmp_path / "blog")
        named = start(tmp_path / "elsewhere", CLAUDE_PROJECT_DIR=str(tmp_path / "shop"))
        for agent in (shop, blog, named):
            agent.begin()
        saved = shop.call("save_memory", text=NOTE)
        number = int(saved.removeprefix("Saved as #").rstrip("."))
        assert NOTE in named.call("recall", query="LOGIN_TIMEOUT", project="/", project_id=1)
        assert NOTE not in blog.call("recall", query="LOGIN_TIMEOUT", project=str(tmp_path / "shop"))
        assert NOTE not in blog.call("get_observations", ids=[number])
        assert NOTE in shop.call("get_observations", ids=[number])


def test_a_lesson_knows_the_session_it_was_proposed_in(
    state: State, folder: Path, start: Callable[..., Agent]
) -> None:
    with serving(state):
        agent = start(folder, CLAUDE_CODE_SESSION_ID="of-the-agent")
        agent.begin()
        assert "Proposed" in agent.call("create_lesson", rule="Use make release.", pattern="git push")
    with state.pool.connection() as conn:
        (lesson,) = conn.execute("select session_id from mem_lessons").fetchall()
    assert lesson["session_id"] == "of-the-agent"


@pytest.mark.usefixtures("reachable")
def test_without_a_service_and_once_there_is_one(
    state: State, folder: Path, start: Callable[..., Agent]
) -> None:
    """The agent does not notice: its handshake is done again, and that answer does not reach it."""
    agent = start(folder)
    agent.begin()
    assert "Saved as" in agent.call("save_memory", text=NOTE)
    (own,) = agent.children()
    with serving(state):
        other = start(folder)
        other.begin()
        assert NOTE in other.call("recall", query="LOGIN_TIMEOUT")
        assert other.children() == []
    assert NOTE in other.call("recall", query="LOGIN_TIMEOUT")
    assert len(other.children()) == 1
    other.end()
    agent.end()
    wait_until(lambda: not own.is_running())


@pytest.mark.usefixtures("reachable")
def test_the_service_is_gone_back_to(state: State, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LOOK_AGAIN", 0.0)
    monkeypatch.chdir(folder.parent)
    passing = relay.Relay()
    said: list[Json] = []
    monkeypatch.setattr(passing, "_say", lambda line: said.append(json.loads(line)))

    def take(message: Json) -> None:
        passing.take(json.dumps({"jsonrpc": "2.0"} | message).encode() + b"\n")

    def ask(number: int, method: str, params: Json) -> None:
        take({"id": number, "method": method, "params": params})
        wait_until(lambda: any(message.get("id") == number for message in said))

    ask(1, "initialize", INITIALIZE)
    take({"method": "notifications/initialized"})
    ask(2, "tools/list", {})
    own = passing._server
    assert isinstance(own, reach.Process)
    with serving(state):
        ask(3, "tools/list", {})
        assert isinstance(passing._server, reach.Service)
        wait_until(lambda: own._process.poll() is not None)
        passing.end()
        passing._server.close()
    assert [message["id"] for message in said] == [1, 2, 3]


def test_a_service_that_is_killed_is_asked_again_when_it_is_back(
    folder: Path, start: Callable[..., Agent]
) -> None:
    service = Scripted(dying=1)
    agent = start(folder)
    agent.begin()
    answer = agent.ask("tools/call", {"name": "save_memory", "arguments": {"text": NOTE}})
    assert answer["result"] == {"of": "tools/call"}
    handshake = ["initialize", "notifications/initialized"]
    assert service.methods() == [*handshake, "tools/call"] * 2
    assert {message["folder"] for message in service.heard} == {str(folder)}
    assert service.heard[0]["params"] == service.heard[3]["params"] == INITIALIZE
    agent.end()


def test_what_was_forgotten_perhaps_is_said_and_not_done_again(
    folder: Path, start: Callable[..., Agent]
) -> None:
    service = Scripted(dying=1)
    agent = start(folder)
    agent.begin()
    answer = agent.ask("tools/call", {"name": "forget", "arguments": {"ids": [1]}})
    assert answer["result"]["isError"]
    assert "done or not" in answer["result"]["content"][0]["text"]
    assert service.methods().count("tools/call") == 1
    assert agent.ask("ping")["result"] == {"of": "ping"}
    agent.end()


def test_an_agent_of_the_newest_protocol_shakes_no_hands(folder: Path, start: Callable[..., Agent]) -> None:
    service = Scripted(dying=2)
    agent = start(folder)
    meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
    assert agent.ask("tools/call", {"name": "forget", **meta})["result"]["resultType"] == "complete"
    assert agent.ask("tools/call", {"name": "recall", **meta})["result"] == {"of": "tools/call"}
    assert service.methods() == ["tools/call"] * 3
    agent.end()


@pytest.mark.usefixtures("reachable")
def test_what_the_service_always_dies_of_goes_to_a_process_of_its_own(
    folder: Path, start: Callable[..., Agent]
) -> None:
    service = Scripted(dying=99)
    agent = start(folder)
    agent.begin()
    assert "Saved as" in agent.call("save_memory", text=NOTE)
    assert service.methods().count("tools/call") == 2
    assert len(agent.children()) == 1
    agent.end()


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize(
    "hello",
    [
        {"agent-memory": "0.0.1", "refused": None},
        {"agent-memory": __version__, "refused": "not trusted"},
        {"what": "is this"},
    ],
)
def test_a_service_that_is_another_one_is_left_alone(
    hello: Json, folder: Path, start: Callable[..., Agent]
) -> None:
    service = Scripted(hello=hello)
    agent = start(folder)
    agent.begin()
    assert sorted(t["name"] for t in agent.ask("tools/list")["result"]["tools"]) == NAMES
    assert service.heard == []
    agent.end()


@pytest.mark.usefixtures("reachable")
def test_a_service_that_hangs_is_not_waited_for(folder: Path, start: Callable[..., Agent]) -> None:
    paths.make_private(paths.home())
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(paths.mcp_socket()))
        hung.listen()
        agent = start(folder)
        agent.begin()
        assert len(agent.children()) == 1
        agent.end()


@pytest.mark.usefixtures("reachable")
def test_a_service_that_begins_to_hang_in_a_call_is_left(folder: Path, start: Callable[..., Agent]) -> None:
    service = Scripted(hanging=True)
    agent = start(folder)
    agent.begin()
    assert "Saved as" in agent.call("save_memory", text=NOTE)
    assert service.methods().count("tools/call") == 1
    agent.end()


def test_whom_the_service_trusts(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = Settings(trusted_agents=("claude", "codex"))
    for client, let_in in (
        ("claude-code", True),
        ("codex-mcp-client", True),
        ("claude", True),
        ("robot", False),
        ("claudette", False),
        (None, True),  # as over the other socket: a name is nobody's proof
    ):
        hello = {"agent-memory": __version__, "client": client}
        assert (host._refusal(hello, trusting) is None) == let_in, client
        assert host._refusal(hello, Settings()) is None
    assert "0.0.1" in str(host._refusal({"agent-memory": "0.0.1"}, Settings()))


def test_sessions_that_came_and_went_leave_nothing(
    state: State, folder: Path, start: Callable[..., Agent]
) -> None:
    ourselves = psutil.Process()

    def come_and_go(times: int) -> None:
        for number in range(times):
            connection = reach.knock({"folder": str(folder)})
            assert connection is not None
            with connection:
                connection.settimeout(20)
                if number % 4 == 3:
                    continue
                message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
                connection.sendall(json.dumps(message).encode() + b"\n")
                assert connection.recv(1 << 16)

    with serving(state):
        agent = start(folder)
        agent.begin()
        assert agent.call("recall", query="anything")
        come_and_go(60)
        before = ourselves.num_fds(), ourselves.num_threads(), ourselves.memory_info().rss >> 20
        come_and_go(200)
        wait_until(lambda: ourselves.num_fds() <= before[0])
        assert ourselves.num_threads() <= before[1] + 2  # a pool of threads fills with what runs at once
        assert (ourselves.memory_info().rss >> 20) <= before[2] + 15
        fds = ourselves.num_fds()
        agent.process.kill()
        wait_until(lambda: ourselves.num_fds() < fds)


@pytest.mark.usefixtures("reachable")
def test_a_call_that_a_stopping_service_leaves_is_asked_again(
    state: State, folder: Path, start: Callable[..., Agent]
) -> None:
    """The agent is not told that its connection is closed, and sessions that are open hold up nobody."""
    agents = [start(folder) for _ in range(3)]
    with serving(state):
        for agent in agents:
            agent.begin()
        with state.pool.connection() as conn, conn.transaction():
            conn.execute("lock table mem_observations in access exclusive mode")
            number = agents[0].send("tools/call", {"name": "timeline", "arguments": {}})
            wait_until(lambda: waiting_for_a_lock(state))
    answer = agents[0].heard()
    assert answer["id"] == number
    assert not answer["result"].get("isError")
    assert [len(agent.children()) for agent in agents] == [1, 0, 0]


def test_a_session_that_asks_too_much_is_told_when_to_come_again(
    state: State, folder: Path, start: Callable[..., Agent]
) -> None:
    state.settings = state.settings.model_copy(update={"rate_limit_reads": 3, "rate_limit_writes": 1})
    with serving(state):
        agent, other = start(folder), start(folder)
        agent.begin()
        other.begin()
        assert not any("More than" in agent.call("timeline") for _ in range(3))
        refused = agent.ask("tools/call", {"name": "recall", "arguments": {"query": "x"}})["result"]
        assert refused["isError"]
        assert re.match(
            r"More than 3 reads in a minute\. Send this again in \d+ s; nothing",
            refused["content"][0]["text"],
        )
        assert "Saved as" in agent.call("save_memory", text=NOTE)  # writing has a count of its own
        assert "More than 1 writes" in agent.call("save_memory", text="another")
        assert agent.ask("tools/list")["result"]["tools"]
        assert NOTE in other.call("recall", query="LOGIN_TIMEOUT")  # as has each session
        assert agent.children() == []
    with state.pool.connection() as conn:
        assert conn.execute("select count(*) as n from mem_observations").fetchone() == {"n": 1}


def test_a_session_that_asks_for_everything_at_once_holds_up_no_other(
    state: State, folder: Path, start: Callable[..., Agent]
) -> None:
    with serving(state):
        agent, other = start(folder), start(folder)
        agent.begin()
        other.begin()
        agent.call("timeline")  # now there is the project
        with state.pool.connection() as conn, conn.transaction():
            conn.execute("lock table mem_observations in access exclusive mode")
            for _ in range(60):
                agent.send("tools/call", {"name": "timeline", "arguments": {}})
            wait_until(lambda: waiting_for_a_lock(state))
            assert other.call("search_lessons") == "No lesson fits."
        for _ in range(60):
            assert not agent.heard()["result"].get("isError")


def test_what_is_read_over_mcp_is_written_down_where_the_log_is_to_hold_it(
    state: State, folder: Path, start: Callable[..., Agent]
) -> None:
    state.settings = state.settings.model_copy(update={"audit_log_level": "all"})
    with serving(state):
        agent = start(folder)
        agent.begin()
        for tool, given in (
            ("recall", {"query": "x"}),
            ("search", {"query": "x"}),
            ("timeline", {}),
            ("get_observations", {"ids": [1]}),
            ("search_lessons", {}),
        ):
            agent.call(tool, **given)
    with state.pool.connection() as conn:
        lines = conn.execute("select who, action from mem_audit_log order by id").fetchall()
    assert [(line["who"], line["action"]) for line in lines] == [
        ("mcp", name) for name in ("recall", "search", "timeline", "get_observations", "search_lessons")
    ]


def test_an_agent_that_is_killed_while_it_waits_is_no_trouble(
    state: State, folder: Path, start: Callable[..., Agent], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", host.__name__)
    with serving(state):
        agent = start(folder)
        agent.begin()
        agent.call("timeline")
        with state.pool.connection() as conn, conn.transaction():
            conn.execute("lock table mem_observations in access exclusive mode")
            for _ in range(30):
                agent.send("tools/call", {"name": "timeline", "arguments": {}})
            wait_until(lambda: waiting_for_a_lock(state))
            agent.process.kill()
            agent.process.wait()
        other = start(folder)
        other.begin()
        other.call("timeline")
        wait_until(lambda: any("a session ended" in one.getMessage() for one in caplog.records))
    assert [one.levelname for one in caplog.records if one.levelno > logging.INFO] == []


def waiting_for_a_lock(state: State) -> bool:
    with state.pool.connection() as conn:
        row = conn.execute("select count(*) as n from pg_locks where not granted").fetchone()
    assert row is not None
    return int(row["n"]) > 0
