"""Which project a folder belongs to: the git remote, else the repository's own folder, else the path.

Clones of one remote, its worktrees and its subfolders are one project; clones of two remotes are two. A repository
whose top is the home folder or `/` (dotfiles) is nobody's project: it would swallow all others.

git itself is not run: reading two small files costs a tenth of a process start, and works where git is missing.
"""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import store


@dataclass(frozen=True, slots=True)
class Identity:
    key: str
    """`git:<host>/<owner>/<name>`, `dir:<the repository's .git>`, `path:<folder>`, or `unknown`."""
    name: str
    path: str | None


UNKNOWN = Identity("unknown", "unknown", None)
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
                return Identity(f"git:{remote}", remote.rsplit("/", 1)[-1], str(top))
            main = git.parent if git.name == ".git" else git
            return Identity(f"dir:{git}", main.name, str(top))
    return Identity(f"path:{folder}", folder.name or "/", str(folder))


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
    if re.fullmatch("[0-9]{1,18}", argument):
        return store.project_id(conn, number=int(argument))
    keys = [argument]
    if argument.startswith(("/", "~", ".")):
        keys.append(identify(os.path.abspath(os.path.expanduser(argument))).key)
    if remote := normalise_remote(argument):
        keys.append(f"git:{remote}")
    for key in keys:
        if (known := store.project_id(conn, identity=key)) is not None:
            return known
    return store.project_id(conn, name=argument)


def ensure(conn: Connection, identity: Identity) -> int:
    """The id of a project, which becomes known here if it was not."""
    known = store.project_id(conn, identity=identity.key)
    if known is not None:
        return known
    return store.insert_project(conn, identity.key, identity.name, identity.path)


def ensure_argument(conn: Connection, argument: str) -> int:
    """The project that an argument names, made known where it is a folder's path or a git remote.

    Raises AgentMemoryError for a name that says nothing of where the project is.
    """
    known = resolve(conn, argument)
    if known is not None:
        return known
    if argument.startswith(("/", "~", ".")):
        return ensure(conn, identify(os.path.abspath(os.path.expanduser(argument))))
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
