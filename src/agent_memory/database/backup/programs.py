"""Postgres's own `pg_dump` and `pg_restore`, in the version of the server: found, and run as whoever we are.

The embedded server's come with it. For a server of the user's own they are looked for where packages put them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agent_memory.database import cluster, placement, server
from agent_memory.errors import AgentMemoryError

INSTALLED = (
    "/usr/lib/postgresql/{major}/bin",  # Debian and Ubuntu
    "/usr/pgsql-{major}/bin",  # Red Hat and its kin
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/libpq/bin",
    "/Applications/Postgres.app/Contents/Versions/{major}/bin",
)


def folder(conninfo: str, major: int) -> Path:
    """The folder with the programs for this server. AgentMemoryError, with what to install, where there is none.

    The major versions must be the same: an older pg_dump refuses, and what a newer one writes, an older server may not
    understand.
    """
    if server.is_embedded(conninfo):
        return placement.programs()
    for candidate in _candidates(major):
        if _major(candidate / "pg_dump") == major and (candidate / "pg_restore").exists():
            return candidate
    raise AgentMemoryError(
        f"A backup of your Postgres {major} needs pg_dump and pg_restore {major}, and they are not here.",
        f"Install them (Debian, Ubuntu: apt install postgresql-client-{major}; macOS: brew install postgresql@{major};"
        f" Fedora: dnf install postgresql{major}) and try again.",
    )


def _candidates(major: int) -> Iterator[Path]:
    # First: on Debian the pg_dump of the PATH is a script that chooses a version by itself.
    for place in INSTALLED:
        yield Path(place.format(major=major))
    if found := shutil.which("pg_dump"):
        yield Path(found).parent
    if str(major) == cluster.MAJOR_VERSION:
        try:
            yield placement.programs()
        except AgentMemoryError:
            return  # the wheel is not installed: the user has a server of his own


def _major(program: Path) -> int | None:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(match[1]) if match else None


def run(program: Path, conninfo: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a client program on a database. Its files are its owner's alone; the password is in no list of processes."""
    parts = conninfo_to_dict(conninfo)
    password = parts.pop("password", None)
    # libpq would mix a project's PG* variables into our connection; to the user's own server they may belong.
    environment = {"PATH": os.defpath} if server.is_embedded(conninfo) else dict(os.environ)
    environment["LC_ALL"] = "C"
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return subprocess.run(
        [program, "--dbname", make_conninfo("", **parts), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        cwd="/",
        env=environment,
        umask=0o077,
    )
