"""Write the pages of reference: what the code offers, below what is written by hand. `make docs`.

Each page is kept by hand down to the line `MARK`; what follows is made here from the command tree, the settings, the
routes and the tools. A test says when a page is not what would be written now.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Any, NamedTuple, Union, cast, get_args, get_origin, get_type_hints

MARK = "<!-- From here on `make docs` writes this page. -->"
FOLDER = Path(__file__).parent
EVERYWHERE = ("settings", "paths", "errors")
"""Modules that every room may know."""


def commands() -> str:
    """Every command with what it takes, in the order and the words of `--help`."""
    from typer.main import get_command

    from agent_memory.cli import main
    from agent_memory.cli.help import Sections

    top = get_command(main.app)
    assert isinstance(top, Sections)
    parts: list[str] = []
    for title, names in top.sections():
        parts.append(f"## {title}\n")
        for name in names:
            parts += _command(top.commands[name], f"agent-memory {name}")
    return "\n".join(parts)


def _command(command: Any, words: str) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    taken = [] if inner else list(_taken(command.callback))
    arguments = [one.shown for one in taken if not one.option]
    yield f"### `{' '.join([words, *arguments])}`\n"
    yield inspect.cleandoc(command.help) + "\n"
    rows = [(f"`{one.shown}`", one.said) for one in taken]
    if rows:
        yield _table(("", ""), rows) + "\n"
    for name, one in (inner or {}).items():
        if not one.hidden:
            yield from _command(one, f"{words} {name}")


class Taken(NamedTuple):
    """What a command takes: `[ID]...`, or `-n, --limit <number>`."""

    option: bool
    shown: str
    said: str


VALUES = {int: "<number>", str: "<text>", Path: "<path>", datetime: "<date>"}


def _taken(callback: Callable[..., None]) -> Iterator[Taken]:
    """Read from the function's own signature: how typer spells a type or a default changes with its version."""
    from typer.models import ArgumentInfo, OptionInfo

    function = inspect.unwrap(callback)
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *notes = get_args(hints[name])
        info = next(note for note in notes if isinstance(note, (ArgumentInfo, OptionInfo)))
        if info.hidden:
            continue
        kind, several = _kind(kind)
        needed = parameter.default is inspect.Parameter.empty
        if isinstance(info, ArgumentInfo):
            shown = str(info.metavar) if needed else f"[{info.metavar}]"
            yield Taken(option=False, shown=shown + "..." * several, said=str(info.help))
            continue
        spelled = [*map(str, info.param_decls or ()), *([] if info.default is ... else [str(info.default)])]
        long = f"--{name.replace('_', '-')}"
        names = ", ".join(spelled or ([long, f"--no-{name.replace('_', '-')}"] if kind is bool else [long]))
        value = "" if kind is bool else f" {info.metavar or VALUES.get(kind) or _choice(kind)}"
        limits = f"{info.min} to {info.max}" if info.max is not None else f"at least {info.min}"
        more = [
            *(
                [f"default: {parameter.default}"]
                if parameter.default and not needed and kind is not bool
                else []
            ),
            *([limits] if info.min is not None else []),
            *(["may be given several times"] if several else []),
            *(["required"] if needed else []),
        ]
        said = " ".join(str(info.help).split())
        yield Taken(
            option=True, shown=names.strip(" /") + value, said=f"{said} [{'; '.join(more)}]" if more else said
        )


def _kind(kind: Any) -> tuple[Any, bool]:
    """What is taken, without what stands around it, and whether there may be several."""
    several = False
    while get_origin(kind) in (Union, UnionType, list):
        several = several or get_origin(kind) is list
        kind = next(one for one in get_args(kind) if one is not type(None))
    return kind, several


def _choice(kind: Any) -> str:
    return f"<{'|'.join(get_args(kind) or [one.value for one in kind])}>"


def settings() -> str:
    """Every setting with its default and its meaning, as settings.py says it."""
    from agent_memory import settings as module

    (body,) = (
        node.body
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    said = {
        node.target.id: inspect.cleandoc(following.value.value)
        for node, following in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
        and isinstance(following.value.value, str)
    }
    missing = set(module.Settings.model_fields) - set(said)
    if missing:
        raise SystemExit(f"say below them in settings.py what these are: {', '.join(sorted(missing))}")
    rows = [
        (f"`{name.upper()}`", f"`{_spelled(field.default)}`", " ".join(said[name].split()))
        for name, field in module.Settings.model_fields.items()
    ]
    return _table(("setting", "default", "meaning"), rows)


def _spelled(default: object) -> str:
    """As it stands in config.toml."""
    if default is None or default == ():
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


def routes() -> str:
    """Every route of the REST API."""
    from fastapi import Request

    from agent_memory import settings as read
    from agent_memory.service import app, auth
    from agent_memory.service.state import State

    state = cast(State, SimpleNamespace(settings=read.Settings()))
    schema = app.create(state).openapi()
    rows = []
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            asked = SimpleNamespace(method=method.upper(), url=SimpleNamespace(path=path))
            scope = "none" if path in auth.OPEN else auth.kind(cast(Request, asked))
            fields = ", ".join([*_parameters(told), *_fields(told, schema)])
            said = " ".join(str(told.get("description", "")).split())
            if not said:
                raise SystemExit(f"say in its docstring what {method.upper()} {path} does")
            rows.append((f"`{method.upper()} {path}`", scope, said, fields))
    return _table(("route", "scope", "", "takes"), rows)


def _parameters(told: dict[str, Any]) -> Iterator[str]:
    for one in told.get("parameters", ()):
        if one["in"] != "path":
            yield f"`{one['name']}`{'*' if one.get('required') else ''}"


def _fields(told: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """The fields of the body, or of one item where the body may be a list."""
    for content in told.get("requestBody", {}).get("content", {}).values():
        shapes = content["schema"].get("anyOf", [content["schema"]])
        name = shapes[0].get("$ref", "").rpartition("/")[2]
        shape = schema["components"]["schemas"].get(name, {})
        for field in shape.get("properties", ()):
            yield f"`{field}`{'*' if field in shape.get('required', ()) else ''}"


def tools() -> str:
    """Every tool of the MCP server, in the words that the agent reads."""
    from mcp import Client

    from agent_memory import settings as read
    from agent_memory.mcp import tools as module
    from agent_memory.mcp.memory import Memory

    async def listed() -> Any:
        with Memory(read.Settings(), ".") as memory:
            async with Client(module.server(memory)) as client:
                return (await client.list_tools()).tools

    parts = []
    for tool in asyncio.run(listed()):
        parts.append(f"## `{tool.name}`\n\n{inspect.cleandoc(tool.description or '')}\n")
        takes = tool.input_schema.get("properties", {})
        needed = tool.input_schema.get("required", ())
        rows = [
            (f"`{name}`{'*' if name in needed else ''}", " ".join(shape.get("description", "").split()))
            for name, shape in takes.items()
        ]
        if rows:
            parts.append(_table(("", ""), rows) + "\n")
    return "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rooms() -> str:
    """Which rooms of the package each one imports, wherever in a file the import stands."""
    known: dict[str, set[str]] = {}
    for own, other, _ in imports():
        known.setdefault(own, set()).add(other)
    rows = [
        (f"`{own}`", ", ".join(f"`{other}`" for other in sorted(known[own])))
        for own in sorted(known)
        if own != "__main__"
    ]
    return "Beside settings, paths and errors, which all may know.\n\n" + _table(("room", "imports"), rows)


def imports() -> Iterator[tuple[str, str, Path]]:
    """Each import of one room by another, with the file in which it stands."""
    package = FOLDER.parent / "src" / "agent_memory"
    for file in sorted(package.rglob("*.py")):
        own = file.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                top, _, rest = name.partition(".")
                other = rest.partition(".")[0]
                if top == "agent_memory" and other not in ("", own, "__version__", *EVERYWHERE):
                    yield own, other, file


PAGES: dict[str, Callable[[], str]] = {
    "architecture.md": rooms,
    "commands.md": commands,
    "settings.md": settings,
    "rest.md": routes,
    "mcp.md": tools,
}


def written(name: str) -> str:
    """The page as it should be now: by hand down to the mark, made from there on."""
    kept = (FOLDER / name).read_text(encoding="utf-8").partition(MARK)[0]
    return f"{kept}{MARK}\n\n{PAGES[name]().strip()}\n"


def main() -> None:
    for name in PAGES:
        page = written(name)
        if page != (FOLDER / name).read_text(encoding="utf-8"):
            (FOLDER / name).write_text(page, encoding="utf-8")
            sys.stdout.write(f"wrote docs/{name}\n")


if __name__ == "__main__":
    main()
