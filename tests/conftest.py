"""Every test runs in a home of its own, against a real Postgres: one embedded cluster a session, one database
a test, copied from a migrated template."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agent_memory import paths
from agent_memory.database import Connection, embedded, server
from agent_memory.database.migrate import migrate
from agent_memory.settings import Settings

# What decides whether a change lands tries the same examples each time; elsewhere each run looks for new ones.
hypothesis_settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis_settings.register_profile("dev", deadline=None)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "dev")

# A shell starts what it puts into the background with Ctrl-C ignored, and all that is started from there inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_HOME = Path.home()
"""The home of whoever runs the tests: end-to-end tests reach the caches of pip and npm through it."""
REPOSITORY = Path(__file__).parent.parent
TEST_DATA = Path(os.environ.get("AGENT_MEMORY_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


def isolate(patch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Move HOME into `folder` and our home into it, and forget every setting of ours. Returns our home."""
    names = {name.upper() for name in Settings.model_fields} | {"ALLOW_TRUST_AUTH", "TRUSTED_AGENTS"}
    for name in list(os.environ):
        if name.upper() in names or name.upper().startswith(
            ("AGENT_MEMORY_", "POSTGRES_", "PG", "CLAUDE", "CODEX_", "GEMINI_", "COPILOT_", "OPENCODE_")
        ):
            patch.delenv(name)
    home = folder / ".agent-memory"
    patch.setenv("HOME", str(folder))
    patch.setenv("AGENT_MEMORY_HOME", str(home))
    return home


def remove_embedded() -> None:
    """Stop the current home's embedded server and remove its data, wherever it lies."""
    if paths.postgres().exists():
        embedded.stop()
        shutil.rmtree(paths.postgres().resolve())


@pytest.fixture(autouse=True)
def home() -> Iterator[Path]:
    """Our home: a path in a new folder, short enough for unix sockets, not made yet."""
    folder = Path(tempfile.mkdtemp(prefix="am-test-"))
    with pytest.MonkeyPatch.context() as patch:
        yield isolate(patch, folder)
        remove_embedded()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The connection string of the session's embedded server."""
    folder = Path(tempfile.mkdtemp(prefix="am-test-"))
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder)
        conninfo = embedded.ensure_running()
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute("alter system set fsync = off")  # these data need not outlive a power cut
        admin.execute("select pg_reload_conf()")
    yield conninfo
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder)
        remove_embedded()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def earlier() -> Iterator[Path]:
    """The folder of a database that was made earlier: making one is nine tenths of a first start."""
    folder = Path(tempfile.mkdtemp(prefix="am-test-"))
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder)
        embedded.ensure_running()
        embedded.stop()
        place = paths.postgres().resolve()
    yield place
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder)
        remove_embedded()
    shutil.rmtree(folder)


@pytest.fixture
def made(earlier: Path, home: Path) -> Iterator[None]:
    """A home whose database was made earlier and is stopped. It goes on to the next test as it came."""
    paths.make_private(home)
    paths.postgres().symlink_to(earlier)
    files = (earlier / "data/PG_VERSION", earlier / "data/postgresql.auto.conf")
    kept = {file: file.read_bytes() for file in files}
    yield
    for file, content in kept.items():
        file.write_bytes(content)
    embedded.stop()
    paths.postgres().unlink()


@pytest.fixture(scope="session")
def template(cluster: str) -> str:
    """The name of a migrated, empty database."""
    with psycopg.connect(cluster, autocommit=True) as admin:
        admin.execute("create database migrated")
    with server.connect(make_conninfo(cluster, dbname="migrated")) as conn:
        migrate(conn)
    return "migrated"


@contextlib.contextmanager
def new_database(cluster: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database in the session's cluster, which is dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    parts = conninfo_to_dict(cluster)
    user = parts.pop("user")
    del parts["dbname"]
    with psycopg.connect(cluster, autocommit=True) as admin:
        admin.execute(f"create database {name} template {template}".encode())
        yield f"postgresql://{user}@/{name}?{urlencode(parts)}"
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def empty_database_url(cluster: str) -> Iterator[str]:
    """The URL of a database without tables that is this test's alone."""
    with new_database(cluster) as url:
        yield url


@pytest.fixture
def database_url(cluster: str, template: str) -> Iterator[str]:
    """The URL of a migrated database that is this test's alone."""
    with new_database(cluster, template) as url:
        yield url


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    """An open connection to this test's database."""
    with server.connect(database_url) as connection:
        yield connection


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real payloads, transcripts and conversations, which is not part of the repository."""
    if not TEST_DATA.is_dir():
        pytest.skip(f"NOT TESTED: no test data at {TEST_DATA}; set AGENT_MEMORY_TEST_DATA to its folder")
    return TEST_DATA
