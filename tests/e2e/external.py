"""A Postgres that is not ours: over TCP, with a password, for several machines to share. And a network in between that
can be slow, or swallow everything."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from agent_memory.database import placement
from tests.e2e.installation import free_port, until

USER, PASSWORD, DATABASE = "memory", "s3cret-of-the-database", "memory"


@dataclass
class External:
    folder: Path
    port: int
    options: list[str] = field(default_factory=list)
    server: subprocess.Popen[bytes] | None = None

    def url(self, *, port: int | None = None, more: str = "") -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/{DATABASE}{more}"

    def admin_url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 60,
            "fsync": "off",  # these data need not outlive a power cut
        }
        options = [f"-c{name}={value}" for name, value in settings.items()] + self.options
        self.server = self._begin("postgres", "-D", self.folder / "data", *options)
        until("the external Postgres answers", self.answers)

    def stop(self) -> None:
        """As a power cut would."""
        if self.server is not None:
            self.server.send_signal(signal.SIGQUIT)
            self.server.wait()
            self.server = None

    def answers(self) -> bool:
        try:
            psycopg.connect(self.admin_url()).close()
        except psycopg.OperationalError:
            return False
        return True

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.url(), row_factory=dict_row, autocommit=True) as conn:
            asked = conn.execute(sql.encode(), values or None)
            return asked.fetchall() if asked.description else []

    def number(self, sql: str, *values: Any) -> int:
        (row,) = self.rows(f"select ({sql}) as n", *values)
        return int(row["n"])

    def make(self) -> None:
        self.folder.chmod(0o755)
        data = self.folder / "data"
        data.mkdir()
        password = self.folder / "password"
        password.write_text(PASSWORD, encoding="ascii")
        for path in (data, password):
            if placement.is_root():
                shutil.chown(path, placement.SYSTEM_USER, placement.SYSTEM_USER)
        how = ("--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C", "--no-sync")
        made = self._begin("initdb", "-D", data, "-U", USER, *how)
        assert made.wait() == 0
        self.start()
        with psycopg.connect(self.admin_url(), autocommit=True) as admin:
            admin.execute(f"create database {DATABASE}".encode())

    def _begin(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(
                [placement.programs() / program, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,
                user=placement.SYSTEM_USER if placement.is_root() else None,
                group=placement.SYSTEM_USER if placement.is_root() else None,
                extra_groups=[] if placement.is_root() else None,
            )


@contextmanager
def postgres() -> Iterator[External]:
    """A new server with an empty database, gone at the end. The caller has made sure that the embedded server was
    prepared once (as root it runs as a user of the system)."""
    folder = Path(tempfile.mkdtemp(prefix="am-pg-"))
    external = External(folder, free_port())
    try:
        external.make()
        yield external
    finally:
        external.stop()
        shutil.rmtree(folder)


class Network:
    """A proxy to a port. What it takes is passed on after `delay` seconds; while it is `silent`, nothing is, and nobody
    is told."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self.silent = False
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.door.getsockname()[1])
        self.ends: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self) -> None:
        """Break every connection."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.silent = False
        with contextlib.suppress(OSError):
            self.door.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who waits in accept
        self.threads[0].join(20)  # takes no more, so that these are all
        self.cut()
        for thread in self.threads[1:]:
            thread.join(20)
        for end in (self.door, *self.ends):
            end.close()

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        self.threads.append(threading.Thread(target=target, args=args, daemon=True))
        self.threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.door.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    self._start(self._carry, one, other)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := source.recv(1 << 16):
                time.sleep(self.delay)
                while self.silent:
                    time.sleep(0.05)
                sink.sendall(said)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
