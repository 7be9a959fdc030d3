"""The crash contract: `make bench-crash`, or `python -m bench.crash [events] [sessions]`.

Made-up sessions are told by real hook processes and by their transcripts, while whatever can die is killed with -9:
hooks in the middle of writing, the service, its worker, Postgres, MCP servers that are saving notes, a migration half
way. The spool's disk fills, clocks jump, Postgres hangs for a minute. In the end everything that was told must be in
the journal once, and the index must have what the rows have. Then many sessions start and end, and processes, open
files and memory are counted before and after.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from agent_memory import hook, paths, running, settings
from agent_memory.database import Connection, embedded, migrate, server
from bench.home import scratch_home
from bench.told import CALLS_A_TURN, Told, turns

EVENTS, SESSIONS = 10_000, 1_000
TURNS_A_SESSION = 6
HOOKS_AT_ONCE = 4
KILLED_HOOKS, JUMPING_HOOKS = 0.03, 0.02  # shares of all hooks
JUMP = 2 * 86_400  # seconds that a clock jumps, there and back
AWAY = 60.0  # seconds that Postgres does not answer
SPOOL_MB = 1  # the small disk
HOOK = str(Path(hook.__file__))
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
SLOW_MIGRATION = "create table mem_half (id int); select pg_sleep(30);"

console = Console(width=120)
done: Counter[str] = Counter()
"""What was done to it."""


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else SESSIONS
    with scratch_home() as home, tempfile.TemporaryDirectory(prefix="am-crash-") as folder:
        paths.make_private(home)
        os.environ["AGENT_MEMORY_HOME"] = str(home)
        rng = random.Random(5)
        told = Told()
        try:
            ensure_up()
            contract(Path(folder), events, rng, told)
            come_and_go(sessions)
        finally:
            running.stop()
            embedded.stop()


def contract(folder: Path, events: int, rng: random.Random, told: Told) -> None:
    count = events // (TURNS_A_SESSION * (CALLS_A_TURN + 2))
    notes: set[str] = set()
    stop = threading.Event()
    chaos = threading.Thread(target=kill_at_random, args=(random.Random(6), stop, notes))
    chaos.start()
    began = time.monotonic()
    thirds = [range(count // 3), range(count // 3, 2 * count // 3), range(2 * count // 3, count)]
    record(thirds[0], folder, rng, told)
    stop.set()
    chaos.join()
    ensure_up()
    with postgres_hanging():
        record(thirds[1][: len(thirds[1]) // 2], folder, rng, told)
    kill_a_migration()
    with full_spool():
        record(thirds[1][len(thirds[1]) // 2 :], folder, rng, told)
    ensure_up()
    stop = threading.Event()
    chaos = threading.Thread(target=kill_at_random, args=(random.Random(7), stop, notes))
    chaos.start()
    record(thirds[2], folder, rng, told)
    stop.set()
    chaos.join()
    took = time.monotonic() - began
    kill("service", running.process_id())
    ensure_up()  # and so the sessions' files of the last days are read
    settle()
    with server.connect(server.conninfo(settings.load())) as conn:
        unknown = {
            p for p in told.prompts if not one(conn, "select count(*) from mem_user_prompts where id = %s", p)
        }
    if unknown:  # sessions of which no hook at all came through: nobody could know of their files
        agent_memory("backfill", str(folder))
        settle()
    report(told, notes, took, len(unknown))


def record(sessions: range, folder: Path, rng: random.Random, told: Told) -> None:
    """Tell these sessions, several at once, each event in its order."""

    def tell(number: int, seed: int) -> None:
        own = random.Random(seed)
        for payload in turns(number, TURNS_A_SESSION, folder, told):
            run_hook(payload, own)

    with ThreadPoolExecutor(HOOKS_AT_ONCE) as threads:
        for result in [threads.submit(tell, number, rng.randrange(1 << 30)) for number in sessions]:
            result.result()


def run_hook(payload: dict[str, Any], rng: random.Random) -> None:
    command = [sys.executable, "-I", "-S", HOOK, "claude", str(paths.home())]
    if rng.random() < JUMPING_HOOKS:
        done["hooks whose clock had jumped"] += 1
        off = rng.choice((-JUMP, JUMP)) * 1_000_000_000
        program = f"import time; now = time.time_ns; time.time_ns = lambda: now() + {off}; import sys; del sys.argv[0];"
        program += "exec(compile(open(sys.argv[0]).read(), sys.argv[0], 'exec'))"
        command = [sys.executable, "-I", "-S", "-c", program, *command[3:]]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert child.stdin is not None
    done["hooks run"] += 1
    doomed = rng.random() < KILLED_HOOKS
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(json.dumps(payload).encode())
        if not doomed:
            child.stdin.close()
    if doomed:
        time.sleep(rng.uniform(0, 0.012))
        child.kill()
        done["hooks killed"] += 1
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
    code = child.wait()
    if not doomed and code != 0:
        done["HOOKS THAT FAILED THE AGENT"] += 1


def kill_at_random(rng: random.Random, stop: threading.Event, notes: set[str]) -> None:
    """Kill one thing after the other until told to stop."""
    while not stop.wait(rng.uniform(0.3, 2.0)):
        service = running.process_id()
        victim = rng.choice(("service", "worker", "postgres", "mcp"))
        if victim == "service" or service is None:
            kill("service", service)
            ensure_up(faked=rng.random() < 0.3)
        elif victim == "worker":
            kill("worker", worker_of(service))
        elif victim == "postgres":
            kill("postgres", postmaster())
        else:
            save_notes_until_killed(rng, notes)


def kill(what: str, pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            done[f"{what} killed"] += 1


def ensure_up(*, faked: bool = False) -> None:
    """The service up again, as a session's start would have it; now and then under a clock that is off by days."""
    environment = dict(os.environ)
    if faked and FAKETIME.exists():
        environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": random.choice(("+2d", "-2d"))}
        done["services whose clock had jumped"] += 1
    for _ in range(30):
        if running.answers():
            return
        agent_memory("up", "--detach", check=False, env=environment)
        time.sleep(0.2)
    raise SystemExit("the service does not come up any more: " + (paths.logs() / "start.log").read_text())


def save_notes_until_killed(rng: random.Random, notes: set[str]) -> None:
    """An MCP server that saves note after note and dies in the middle. What it had confirmed must be there."""
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "agent_memory", "mcp"],
        cwd="/tmp",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        timer = threading.Timer(rng.uniform(0.2, 3.0), child.kill)
        start = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "b", "version": "1"},
        }
        with contextlib.suppress(BrokenPipeError, ValueError):
            ask(child, 0, "initialize", start)
            timer.start()
            for number in range(1_000):
                text = f"note {child.pid}-{number} of the crash contract"
                answer = ask(
                    child, number + 1, "tools/call", {"name": "save_memory", "arguments": {"text": text}}
                )
                if not answer.get("result", {}).get("isError", True):
                    notes.add(text)
        timer.cancel()
        child.kill()
        done["mcp killed"] += 1


def ask(child: subprocess.Popen[str], number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    child.stdin.write(json.dumps(request) + "\n")
    child.stdin.flush()
    answer: dict[str, Any] = json.loads(child.stdout.readline())  # ValueError where it died
    return answer


def worker_of(service: int) -> int | None:
    with contextlib.suppress(psutil.Error):
        return next((child.pid for child in psutil.Process(service).children()), None)
    return None


def postmaster() -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((paths.postgres() / "data" / "postmaster.pid").read_text().splitlines()[0])
    return None


@contextlib.contextmanager
def postgres_hanging() -> Iterator[None]:
    """Postgres does not answer for a minute: all its processes are stopped, then go on."""
    pid = postmaster()
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.suspend()
    until = time.monotonic() + AWAY
    try:
        yield
        time.sleep(max(0.0, until - time.monotonic()))
    finally:
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.resume()
        done["seconds that Postgres hung"] += int(AWAY)


def kill_a_migration() -> None:
    """A migration is killed half way, its transaction open: nothing of it may stay."""
    running.stop()
    with tempfile.TemporaryDirectory() as copied:
        files = [file for file in migrate.FOLDER.iterdir() if file.name.endswith(".sql")]
        for file in files:
            (Path(copied) / file.name).write_bytes(file.read_bytes())
        number = len(files) + 1
        (Path(copied) / f"{number:04d}_half.sql").write_text(SLOW_MIGRATION)
        program = (
            "import sys; from pathlib import Path; from agent_memory import settings;"
            "from agent_memory.database import migrate, server;"
            "migrate.migrate(server.connect(server.conninfo(settings.load())), Path(sys.argv[1]))"
        )
        with subprocess.Popen([sys.executable, "-c", program, copied]) as child:
            time.sleep(4)
            child.kill()
    with server.connect(server.conninfo(settings.load())) as conn:
        left = one(conn, "select count(*) from pg_class where relname = 'mem_half'")
        left += one(conn, "select count(*) from mem_schema_migrations where version = %s", number)
    done["migrations killed half way"] += 1
    done["HALF MIGRATIONS LEFT"] += left
    ensure_up()


@contextlib.contextmanager
def full_spool() -> Iterator[None]:
    """The spool lies on a disk of 1 MB, and nobody drains it: it fills. Its files move on afterwards."""
    running.stop()
    small = paths.home() / "small"
    small.mkdir()
    size = f"size={SPOOL_MB}m"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", small], check=False).returncode:
        console.print("[red]NOT DONE: a full disk; mounting a small tmpfs needs root[/red]")
        yield
        return
    large = paths.spool().with_name("spool.large")
    paths.spool().rename(large)
    paths.spool().symlink_to(small)
    try:
        yield
        free = os.statvfs(small)
        done[f"KB free on the spool's disk of {SPOOL_MB} MB"] = free.f_bavail * free.f_frsize // 1024
        done["events that found room on the small disk"] = len(list(paths.spool_new().iterdir()))
    finally:
        waiting = [(file.name, file.read_bytes()) for file in paths.spool_new().iterdir()]
        paths.spool().unlink()
        large.rename(paths.spool())
        for name, content in waiting:
            (paths.spool_new() / name).write_bytes(content)
        subprocess.run(["umount", small], check=True)
        small.rmdir()


def settle(seconds: float = 600.0) -> None:
    """Wait until nothing waits: spool, session files, turns, chunks."""
    until = time.monotonic() + seconds
    quiet = 0
    with server.connect(server.conninfo(settings.load())) as conn:
        conn.autocommit = True
        while quiet < 4:
            if time.monotonic() > until:
                console.print("[red]something still waits[/red]")
                return
            waiting = len(list(paths.spool_new().iterdir()))
            waiting += one(conn, "select count(*) from mem_observation_queue where failed_at is null")
            waiting += one(conn, "select count(*) from mem_embedding_queue")
            quiet = 0 if waiting else quiet + 1
            time.sleep(0.5)


def one(conn: Connection, query: str, *values: Any) -> int:
    row = conn.execute(query.encode(), values).fetchone()
    assert row is not None
    return int(next(iter(row.values())))


def column(conn: Connection, query: str) -> list[str]:
    return [next(iter(row.values())) for row in conn.execute(query.encode())]


def report(told: Told, notes: set[str], took: float, unknown: int) -> None:
    with server.connect(server.conninfo(settings.load())) as conn:
        stored = {
            "prompts": (column(conn, "select id from mem_user_prompts"), told.prompts),
            "tool calls": (column(conn, "select tool_use_id from mem_tool_calls"), told.calls),
            "messages": (column(conn, "select text from mem_assistant_messages"), told.messages),
            "notes confirmed over MCP": (
                column(conn, "select text from mem_observations where kind = 'note'"),
                notes,
            ),
        }
        turns_made = column(conn, "select external_id from mem_observations where kind = 'turn'")
        index = {
            "turns without a memory": len(told.prompts) - len(turns_made),
            "memories without chunks": one(
                conn,
                "select count(*) from mem_observations o where not exists"
                " (select from mem_observation_chunks c where c.observation_id = o.id)",
            ),
            "chunks without a vector": one(
                conn,
                "select count(*) from mem_observation_chunks c where not exists"
                " (select from mem_chunk_vectors v where v.chunk_id = c.id)",
            ),
            "vectors without a chunk": one(
                conn,
                "select count(*) from mem_chunk_vectors v where not exists"
                " (select from mem_observation_chunks c where c.id = v.chunk_id)",
            ),
            "turns given up": one(
                conn, "select count(*) from mem_observation_queue where failed_at is not null"
            ),
        }
    table = Table("what", "told", "stored", "lost", "doubled", title=f"After {took:.0f} s of killing")
    wrong = sum(index.values()) + done["HALF MIGRATIONS LEFT"] + done["HOOKS THAT FAILED THE AGENT"]
    for what, (found, expected) in stored.items():
        known = [key for key in found if key in expected]
        lost, doubled = len(expected - set(found)), len(known) - len(set(known))
        wrong += lost + doubled
        table.add_row(what, f"{len(expected):,}", f"{len(set(known)):,}", str(lost), str(doubled))
    console.print(table)
    table = Table("the index", "rows")
    for what, count in index.items():
        table.add_row(what, str(count))
    console.print(table)
    table = Table("done to it", "times")
    done["prompts found by a backfill only (no hook of their session got through)"] = unknown
    for what, count in sorted(done.items()):
        table.add_row(what, f"{count:,}")
    console.print(table)
    if not FAKETIME.exists():
        console.print("[red]NOT DONE: a service whose clock jumps; libfaketime is not installed[/red]")
    if wrong:
        raise SystemExit(f"THE CONTRACT IS BROKEN: {wrong} rows")


def come_and_go(sessions: int) -> None:
    """Start and end many sessions, and count what stays."""

    def through(number: int) -> None:
        base = {"session_id": f"brief-{number}", "cwd": "/home/dev/brief", "prompt_id": f"brief-{number}"}
        for event in ("SessionStart", "UserPromptSubmit", "Stop", "SessionEnd"):
            more = {
                "prompt": "Say hello",
                "last_assistant_message": "Hello.",
                "source": "startup",
                "reason": "other",
            }
            command = [sys.executable, "-I", "-S", HOOK, "claude", str(paths.home())]
            payload = json.dumps(base | more | {"hook_event_name": event}).encode()
            subprocess.run(command, input=payload, stdout=subprocess.DEVNULL, check=True)

    with ThreadPoolExecutor(HOOKS_AT_ONCE) as threads:
        list(threads.map(through, range(100)))  # until then caches fill
        settle()
        before = counted()
        list(threads.map(through, range(100, 100 + sessions)))
        settle()
        time.sleep(5)
    after = counted()
    table = Table("", "before", f"after {sessions:,} sessions")
    for what in before:
        table.add_row(what, f"{before[what]:,}", f"{after[what]:,}")
    console.print(table)
    for what, room in (("processes", 0), ("open files", 10), ("memory, MB", 60)):
        if after[what] > before[what] + room:
            raise SystemExit(f"{what}: {before[what]} before, {after[what]} after")


def counted() -> dict[str, int]:
    """Processes, open files and memory of the service, its worker and Postgres."""
    service, database = running.process_id(), postmaster()
    assert service is not None
    assert database is not None
    family = [psutil.Process(service), *psutil.Process(service).children(recursive=True)]
    backends = [psutil.Process(database), *psutil.Process(database).children(recursive=True)]
    private = sum(process.memory_full_info().uss for process in family + backends)
    files = sum(process.num_fds() for process in family)
    # A connection of the pool more or less is Postgres's process more or less: only ours have to be the same.
    return {
        "processes": len(family),
        "of Postgres": len(backends),
        "open files": files,
        "memory, MB": private >> 20,
    }


def agent_memory(*arguments: str, check: bool = True, env: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-I", "-m", "agent_memory", *arguments]
    subprocess.run(command, check=check, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
