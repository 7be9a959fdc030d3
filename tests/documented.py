"""What the documents show: their pages, links, anchors, and the commands in their code."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from markdown_it import MarkdownIt
from markdown_it.token import Token
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from agent_memory.cli import main
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
_CALLED = re.compile(r"(?:^|[\s/(])agent-memory(?:\s+(.*))?$")
_STANDS_FOR = re.compile(r"[A-Z]+|\$\w+|…")
"""What stands for something in a synopsis."""


def pages() -> list[Path]:
    """Every page that a reader may open."""
    plugin = REPOSITORY.glob("plugin/**/*.md")
    top = (REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "AGENTS.md"))
    return sorted([*DOCS.rglob("*.md"), *top, *plugin])


def tokens(page: Path) -> Iterator[Token]:
    parsed = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    for token in parsed:
        yield token
        yield from token.children or ()


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    parsed = list(tokens(page))
    for heading, inline in itertools.pairwise(parsed):
        if heading.type == "heading_open":
            text = re.sub(r"[^\w\- ]", "", inline.content.lower()).replace(" ", "-")
            found.add(text if text not in found else f"{text}-1")
    return found


def links(page: Path) -> Iterator[str]:
    for token in tokens(page):
        if token.type == "link_open":
            yield str(token.attrs["href"])


@dataclass(frozen=True, slots=True)
class Shown:
    """A command as a page shows it."""

    page: Path
    words: tuple[str, ...]
    """What stands after `agent-memory`."""
    whole: bool
    """It stands in a block, to be typed as it is; else it is mentioned, maybe without its arguments."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}: agent-memory {shlex.join(self.words)}"


def commands(page: Path) -> Iterator[Shown]:
    """The commands in a page's code, one for each of alternatives such as `lesson add|list`."""
    for token in tokens(page):
        if token.type not in ("fence", "code_block", "code_inline"):
            continue
        whole = token.type != "code_inline"
        if whole and token.type == "fence" and token.info not in ("", "sh", "toml"):
            continue
        for line in token.content.replace("\\\n", " ").splitlines():
            called = _CALLED.search(line)
            if called:
                for words in _alternatives(called[1] or ""):
                    yield Shown(page, words, whole)


def _alternatives(said: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(said, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    before: list[str] = []
    choices: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            choices.append([])
        elif set(word) <= set("<>;&|"):
            break
        else:
            choices[-1].append(word)
    first, *others = choices
    yield tuple(first)
    before = first[:-1]
    group = find(tuple(before))
    for other in others:
        if isinstance(group, TyperGroup) and other and other[0] in group.commands:
            yield (*before, *other)


def find(words: tuple[str, ...]) -> TyperCommand | TyperGroup | None:
    """The command, or the group, that these words name and nothing more; None where there is no such one."""
    found: TyperCommand | TyperGroup = _top()
    for word in words:
        if not isinstance(found, TyperGroup) or word not in found.commands:
            return None
        found = cast(TyperCommand | TyperGroup, found.commands[word])
    return found


@cache
def _top() -> Any:
    return get_command(main.app)


def split(words: tuple[str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """The name of a command, and what it is given, without the brackets of a synopsis."""
    length = 0
    while length < len(words) and find(words[: length + 1]) is not None:
        length += 1
    return words[:length], [re.sub(r"[\[\]]|\.\.\.$", "", word) for word in words[length:]]


def filled(word: str, value: str = "1") -> str:
    """The word, or a value in the place of one that stands for something."""
    return value if _STANDS_FOR.fullmatch(word.removesuffix("…") or word) else word
