"""Which project a folder belongs to: the git remote, else the repository's own folder, else the path.

Clones of one remote, its worktrees and its subfolders are one project; clones of two remotes are two. A repository
whose top is the home folder or `/` (dotfiles) is nobody's project: it would swallow all others.

A repository without a remote that was moved is the one it was: the first line of its reflog tells. Without a remote a
project is a place on one machine: where several share a database, the first that works in a place of that name has it,
and another's is called `path:<folder> on <machine>`. A person may merge projects, and split one
(`agent_memory.regroup`); what they said holds for what comes later, too.

git itself is not run: reading two small files costs a tenth of a process start, and works where git is missing.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent_memory import machine
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import store


@dataclass(frozen=True, slots=True)
class Identity:
    key: str
    """`git:<host>/<owner>/<name>`, `dir:<the repository's .git>`, `path:<folder>`, or `unknown`; of a place on another
    machine than the first with that name, with ` on <machine>`."""
    name: str
    path: str | None
    folder: str | None = None
    """The folder that was asked about, without symbolic links."""
    mark: str | None = None
    """What a repository without a remote is known by wherever it lies."""

    @property
    def is_place(self) -> bool:
        return self.key.startswith(("dir:", "path:"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session belongs."""

    project_id: int
    origin_id: int | None
    """The project that the folder names, where a person gave it to another."""


@dataclass(frozen=True, slots=True)
class Groups:
    """What persons said of projects, for whoever cannot ask the database each time."""

    merged: Mapping[str, str] = field(default_factory=dict)
    """A project's identity → that of the project it was merged into."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """A folder → the identity of the project that it was given to."""
    elsewhere: Mapping[str, str | None] = field(default_factory=dict)
    """The identity of a place on another machine → its mark."""

    def of(self, cwd: str | None) -> str:
        """The identity of the project that a session in this folder belongs to."""
        own = identify(cwd)
        for folder in (Path(own.folder), *Path(own.folder).parents) if own.folder else ():
            if given := self.folders.get(str(folder)):
                return given
        key = self.own(own)
        return self.merged.get(key, key)

    def own(self, identity: Identity) -> str:
        """The identity of the project that a folder names, whatever became of that project."""
        if identity.key in self.elsewhere and not _is_same(self.elsewhere[identity.key], identity):
            return _here(identity).key
        return identity.key


UNKNOWN = Identity("unknown", "unknown", None)
_PATHS = ("/", "~", ".")
"""What an argument that is a folder's path begins with."""
_SCP_LIKE = re.compile(r"^(?:[^/\s]+@)?([^@:/\s]+):(?!//)(.+)$")


def identify(cwd: str | None) -> Identity:
    """The project of a folder, which need not exist any more: then only its path can tell."""
    if not cwd or not os.path.isabs(cwd):
        return UNKNOWN
    try:
        folder = Path(os.path.realpath(cwd))
    except (OSError, ValueError):  # too long, or with a NUL: no folder that there ever was
        return UNKNOWN
    for top in (folder, *folder.parents):
        if top in (Path.home(), Path("/")):
            break
        if git := _git_folder(top):
            remote = _remote(git)
            if remote:
                return Identity(f"git:{remote}", remote.rsplit("/", 1)[-1], str(top), str(folder))
            main = git.parent if git.name == ".git" else git
            return Identity(f"dir:{git}", main.name, str(top), str(folder), _mark(git))
    return Identity(f"path:{folder}", folder.name or "/", str(folder), str(folder))


def normalise_remote(url: str) -> str | None:
    """`git@host:a/b.git`, `https://user:key@host/a/b` and `ssh://host/a/b/` are all `host/a/b`. None: no remote."""
    url = url.strip()
    if "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError:  # a bracket that is no IPv6 address
            return None
        host, path = parts.hostname or "", parts.path
        if parts.scheme == "file":
            host = "file"
    elif found := _SCP_LIKE.match(url):
        host, path = found[1], found[2]
    elif url.startswith(("/", "./", "../", "~")):
        host, path = "file", url
    else:
        return None
    path = path.strip("/").removesuffix(".git").strip("/")
    return f"{host}/{path}".lower() if host and path else None


def resolve(conn: Connection, argument: str) -> int | None:
    """The id of the project that an argument names: an id, a folder, a git remote, an identity, or a name that only
    one project has. None: no such project is known."""
    if argument.startswith(_PATHS) and (given := _given(conn, _identity(argument))) is not None:
        return given
    own = named(conn, argument)
    if own is not None:
        return store.project_id(conn, number=own)
    return None if argument.isdigit() else store.project_id(conn, name=argument)


def called(conn: Connection) -> dict[int, str]:
    """What a person may call each project: its name, or where several have it, its id. By id, that in which something
    happened last first."""
    rows = store.projects(conn)
    rows.sort(key=lambda row: (row["last_event_at"] is not None, row["last_event_at"]), reverse=True)
    names = Counter(row["name"] for row in rows)
    return {row["id"]: row["name"] if names[row["name"]] == 1 else str(row["id"]) for row in rows}


def named(conn: Connection, argument: str) -> int | None:
    """Like `resolve`, but the project that has this id or this identity itself, also where it is part of another
    now."""
    if re.fullmatch("[0-9]{1,18}", argument):
        return store.project_itself(conn, number=int(argument))
    keys = [argument]
    if argument.startswith(_PATHS):
        keys.append(on_this_machine(conn, _identity(argument)).key)
    if remote := normalise_remote(argument):
        keys.append(f"git:{remote}")
    return next((own for key in keys if (own := store.project_itself(conn, identity=key)) is not None), None)


def _identity(argument: str) -> Identity:
    return identify(os.path.abspath(os.path.expanduser(argument)))


def known(conn: Connection, identity: Identity) -> int | None:
    """The id of the project that a session of this identity belongs to, where something is known of it."""
    given = _given(conn, identity)
    if given is not None:
        return given
    return store.project_id(conn, identity=on_this_machine(conn, identity).key)


def ensure(conn: Connection, identity: Identity) -> int:
    """The id of a project, which becomes known here if it was not."""
    return place(conn, identity).project_id


def place(conn: Connection, identity: Identity) -> Place:
    """Where a session of this identity belongs; its project becomes known here if it was not. Until the caller commits,
    nobody can merge or split the project, so what is stored in it meanwhile is moved with it."""
    identity, own = _held(conn, identity)
    if own is None:
        former = _moved_from(conn, identity)
        store.insert_project(
            conn,
            identity.key,
            identity.name,
            identity.path,
            mark=identity.mark,
            machine=machine.here() if identity.is_place else None,
            merged_into=former,
        )
        identity, own = _held(conn, identity)  # another machine's, where that was quicker
        if own is None:
            return place(conn, identity)
    elif identity.mark and own["mark"] != identity.mark:
        store.mark_project(conn, own["id"], identity.mark)
    # Asked only now: whoever gives the folder away holds the project.
    given = _given(conn, identity)
    project = int(own["merged_into"] or own["id"]) if given is None else store.hold_number(conn, given)
    return Place(project, None if project == own["id"] else int(own["id"]))


def _held(conn: Connection, identity: Identity) -> tuple[Identity, dict[str, Any] | None]:
    """The identity that a folder has on this machine, and its project, held, where there is one."""
    own = store.hold_project(conn, identity.key)
    if own is None or not identity.is_place or own["machine"] == machine.here():
        return identity, own
    if own["machine"] is None and store.claim_project(conn, own["id"], machine.here()):
        return identity, own
    if _is_same(own["mark"], identity):
        return identity, own
    identity = _here(identity)
    return identity, store.hold_project(conn, identity.key)


def on_this_machine(conn: Connection, identity: Identity) -> Identity:
    """The identity as it is on this machine: a place of that name may be another's."""
    found = store.place_of(conn, identity.key) if identity.is_place else None
    if found is None or found["machine"] in (None, machine.here()) or _is_same(found["mark"], identity):
        return identity
    return _here(identity)


def own(conn: Connection, key: str, name: str, path: str) -> int:
    """The id of the project of a folder on this machine, whatever it was given to; made where there was none."""
    identity, known = _held(conn, Identity(key, name, path))
    if known is not None:
        return int(known["id"])
    return store.insert_project(conn, identity.key, name, path, machine=machine.here())


def _is_same(mark: str | None, identity: Identity) -> bool:
    """Whether a repository on another machine is the same one: its first commit was made by the same, in the same
    second."""
    return mark is not None and mark == identity.mark


def _here(identity: Identity) -> Identity:
    return replace(identity, key=f"{identity.key} on {machine.here()}")


def groups(conn: Connection) -> Groups:
    """What holds now."""
    return Groups(
        merged=store.merged_identities(conn),
        folders=store.given_folders(conn, machine.here()),
        elsewhere=store.places_elsewhere(conn, machine.here()),
    )


def _given(conn: Connection, identity: Identity) -> int | None:
    """The project that a person gave this folder, or one above it, to."""
    if identity.folder is None:
        return None
    folder = Path(identity.folder)
    return store.project_of_folder(conn, [str(folder), *map(str, folder.parents)], machine.here())


def _moved_from(conn: Connection, identity: Identity) -> int | None:
    """The project that this repository was before its folder was moved, or is on another machine. A copy on the same
    machine is another one: the first still lies where it was."""
    if identity.mark is None:
        return None
    found = store.marked_projects(conn, identity.mark)
    places = [row["identity"].removesuffix(f" on {machine.here()}").removeprefix("dir:") for row in found]
    if any(os.path.exists(place) for place in places):
        return None
    now = {int(row["id"]) for row in found}
    return now.pop() if len(now) == 1 else None


def ensure_argument(conn: Connection, argument: str) -> int:
    """The project that an argument names, made known where it is a folder's path or a git remote.

    Raises AgentMemoryError for a name that says nothing of where the project is.
    """
    known = resolve(conn, argument)
    if known is not None:
        return known
    if argument.startswith(_PATHS):
        return ensure(conn, _identity(argument))
    if remote := normalise_remote(argument):
        return ensure(conn, Identity(f"git:{remote}", remote.rsplit("/", 1)[-1], None))
    raise AgentMemoryError(
        f"No project {argument!r} is known here, and it is neither a path nor a git remote.",
        "Name the project by its folder's absolute path or its git remote.",
        status=404,
    )


def _git_folder(top: Path) -> Path | None:
    """The repository's own .git, the common one for a worktree, or None where `top` is no checkout's top."""
    git = top / ".git"
    try:
        if git.is_dir():
            return git if (git / "HEAD").exists() else None
        said = git.read_text(encoding="utf-8")  # a worktree's or a submodule's: "gitdir: …"
        if not said.startswith("gitdir:"):
            return None
        own = Path(os.path.realpath(top / said.removeprefix("gitdir:").strip()))
        common = own / "commondir"
        if common.exists():
            return Path(os.path.realpath(own / common.read_text(encoding="utf-8").strip()))
    except (OSError, UnicodeDecodeError):
        return None
    return own if own.is_dir() else None


def _mark(git: Path) -> str | None:
    """A hash of the reflog's first line: who made the repository's first commit and when, to the second."""
    try:
        with (git / "logs" / "HEAD").open("rb") as file:
            line = file.readline(1000)
    except OSError:
        return None
    return hashlib.sha256(line).hexdigest()[:32] if line.strip() else None


def _remote(git: Path) -> str | None:
    """`origin`, or the first remote there is."""
    config = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        lines = (git / "config").read_text(encoding="utf-8", errors="replace").splitlines()
        config.read_string("\n".join(line.strip() for line in lines))
    except (OSError, configparser.Error):
        return None
    remotes = {s: config[s].get("url") for s in config.sections() if s.startswith('remote "')}
    url = remotes.get('remote "origin"') or next((u for u in remotes.values() if u), None)
    return normalise_remote(url) if url else None
