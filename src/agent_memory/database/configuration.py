"""The embedded server's configuration: its settings, and who may log in."""

from __future__ import annotations

import os
from pathlib import Path

from agent_memory.database import placement
from agent_memory.database.placement import Place

ROLE = "agent_memory"
"""The database user that the server's owner logs in as, a superuser."""

SETTINGS = """\
# Written by agent-memory at every start. For settings of your own use ALTER SYSTEM.
listen_addresses = ''
port = 5432
unix_socket_directories = {socket_folder}
unix_socket_permissions = 0700
hba_file = {hba_file}
ident_file = {ident_file}

# One person's machine: few connections, little memory, few processes.
# fsync and synchronous_commit stay on, as Postgres has them.
max_connections = 50
shared_buffers = {shared_buffers}MB
maintenance_work_mem = 128MB
min_wal_size = 32MB
max_wal_size = 512MB
io_method = sync
max_logical_replication_workers = 0
# Parallel plans and index builds need /dev/shm, which has only 64 MB in a container.
max_parallel_workers_per_gather = 0
max_parallel_maintenance_workers = 0
timezone = 'UTC'
log_timezone = 'UTC'

# What is stored stays out of the log: no statements, and no rows in the details of an error.
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
"""


def write(place: Place) -> None:
    """Write the configuration beside the data, not into it: there the server's user could have laid a link
    for root to write through."""
    hba_file, ident_file = place.folder / "pg_hba.conf", place.folder / "pg_ident.conf"
    owner = "root" if placement.is_root() else place.user
    settings = SETTINGS.format(
        socket_folder=_quoted(place.socket_folder),
        hba_file=_quoted(hba_file),
        ident_file=_quoted(ident_file),
        shared_buffers=_shared_buffers(),
    )
    contents = {
        hba_file: "local all all peer map=owner\n",
        ident_file: f'owner "{owner}" {ROLE}\n',
        place.folder / "postgresql.conf": settings,
    }
    for file, content in contents.items():
        draft = file.with_suffix(".new")
        draft.write_text(content, encoding="utf-8")
        draft.chmod(0o600)
        if placement.is_root():
            os.chown(draft, 0, place.gid)
            draft.chmod(0o640)
        draft.rename(file)


def _shared_buffers() -> int:
    """MB that pages of the database may take: a sixteenth of the machine's memory, within 128 MB and 1 GB.

    Only what was read takes memory, so a small database never has more than its size. A walk through the vectors'
    index touches 2,000 pages; at 100,000 vectors it takes half of the CPU when they are all here (6 ms for 13).
    """
    import psutil

    return max(128, min(1024, psutil.virtual_memory().total // 16 // 2**20))


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
