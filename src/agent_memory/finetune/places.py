"""Home folders, the names of their owners, and hosts: out of the texts, each the same placeholder everywhere."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

USER = "user"
_NAME = r"[A-Za-z0-9_](?:[\w.-]*\w)?"
_HOME = re.compile(rf"(?<![\w.~-])((?:[A-Za-z]:)?(?:/|\\{{1,4}})(?:home|Users)(?:/|\\{{1,4}}))({_NAME})")
_SLUG = re.compile(r"(?<![A-Za-z0-9])-(home|Users)-([A-Za-z0-9_]+)(?=-)")
"""A path as Claude Code names folders after it: -home-alice-shop."""
_SUFFIX = r"(?:local|lan|corp|intranet|internal|localdomain|home\.arpa)"
_HOST = re.compile(
    rf"(?<=@)(?:[A-Za-z0-9-]+\.)+{_SUFFIX}(?![\w.-]*\w)"
    rf"|(?<=//)(?:[A-Za-z0-9-]+\.)+{_SUFFIX}(?![\w-])"
    r"|(?<![\w.-])(?:[\w]+-)*(?:MacBook|iMac|Mac-?mini|Mac-?Studio)(?:-\w+)*(?:\.\w+)?"
    r"|(?<![\w.-])(?:DESKTOP|LAPTOP)-[A-Z0-9]{6,8}(?!\w)"
    r"|(?<![\w.-])ip-\d{1,3}-\d{1,3}-\d{1,3}-\d{1,3}(?:\.[\w.-]*\w)?"
)
_NEEDLES = (".local", ".lan", ".corp", ".in", ".home.arpa", "Mac", "DESKTOP-", "LAPTOP-", "ip-")
"""One of these is in every host that the pattern finds; most texts have none."""
_DOCKERS = "host.docker.internal"
_COMMON = frozenset(
    (
        *("root", "user", "users", "admin", "home", "test", "node", "runner", "ubuntu", "debian", "vscode"),
        *(
            "shared",
            "public",
            "work",
            "code",
            "data",
            "claude",
            "codex",
            "agent",
            "build",
            "default",
            "guest",
        ),
        "local",
    )
)
"""Names that are words, too: only in a path are they a name."""


class Places:
    """What is put in whose place. One is made for a run, so that a host is the same one in all of its rows."""

    def __init__(self, names: Iterable[str], *, hosts: Iterable[str] | None = None) -> None:
        """`names`: of the owners of home folders."""
        own = {name for name in names if len(name) >= 4 and name.lower() not in _COMMON}
        known = [socket.gethostname()] if hosts is None else list(hosts)
        known = [host for host in known if len(host) >= 4 and host != "localhost"]
        self._hosts: dict[str, str] = {}
        self._names = _words(own)
        self._known = _words(known)
        self._at = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, own))})@([\w.-]*\w)") if own else None

    def text(self, text: str) -> str:
        if "home" in text or "Users" in text:
            text = _HOME.sub(rf"\g<1>{USER}", text)
            text = _SLUG.sub(rf"-\g<1>-{USER}", text)
        if self._at:
            text = self._at.sub(lambda met: f"{USER}@{self._host(met[1])}", text)
        if any(needle in text for needle in _NEEDLES):
            text = _HOST.sub(lambda met: self._host(met[0]), text)
        if self._known:
            text = self._known.sub(lambda met: self._host(met[0]), text)
        return self._names.sub(USER, text) if self._names else text

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it without them, keys too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.value(one) for name, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, list) else value

    def left(self, value: Any) -> bool:
        """Whether any is in a value."""
        return bool(self.value(value) != value)

    def _host(self, name: str) -> str:
        if name == _DOCKERS or re.fullmatch(r"host-\d+", name):
            return name
        return self._hosts.setdefault(name.lower(), f"host-{len(self._hosts) + 1}")


def owner(path: str | None) -> str | None:
    """Whose home folder a path lies in."""
    met = _HOME.match(path or "")
    return met[2] if met else None


def own_name() -> str:
    return Path.home().name


def _words(words: Iterable[str]) -> re.Pattern[str] | None:
    told = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{told})(?![A-Za-z0-9])") if told else None
