"""The documents say what is: their links lead somewhere, their commands fit the command tree, what is made by
`make docs` is current, and the drawing of the architecture is the code's."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs import reference
from tests import documented
from tests.conftest import REPOSITORY
from typer.core import TyperGroup

from agent_memory.settings import Settings

NOT_SETTINGS = {
    "AGENT_MEMORY_HOME": "moves the home, where the settings are",
    "AGENT_MEMORY_TEST_DATA": "of the tests",
}
PACKAGE = REPOSITORY / "src" / "agent_memory"
PAGES = documented.pages()


def named(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_of_reference_is_what_the_code_says(name: str) -> None:
    there = (documented.DOCS / name).read_text(encoding="utf-8").splitlines()
    differs = "\n".join(difflib.unified_diff(there, reference.written(name).splitlines(), lineterm="", n=0))
    assert not differs, (
        f"docs/{name} is not what the code says now. Run `make docs` and commit it:\n{differs}"
    )


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in documented.links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{named(page)} links to {link}, which is not there"
        assert not anchor or anchor in documented.anchors(target), (
            f"{named(page)} links to {link}; its headings are {sorted(documented.anchors(target))}"
        )


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_is_shown_fits_the_command_tree(page: Path) -> None:
    for shown in documented.commands(page):
        name, given = documented.split(shown.words)
        command = documented.find(name)
        assert command is not None
        if isinstance(command, TyperGroup) and not all(word == "…" for word in given):
            known = {name for param in command.params for name in param.opts}
            assert set(given) <= known, f"{shown}: there is no such command; see docs/commands.md"
        if isinstance(command, TyperGroup):
            continue
        values = [documented.filled(word, "-" if word == "FILE" else "1") for word in given]
        try:
            command.make_context(" ".join(name), values)
        except Exception as error:
            if shown.whole or type(error).__name__ != "MissingParameter":
                pytest.fail(f"{shown}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_setting_that_is_named_is_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    settings = {name.upper() for name in Settings.model_fields} | set(NOT_SETTINGS)
    for name in re.findall(r"\b(?:AGENT_MEMORY|POSTGRES)_[A-Z_]+\b", text):
        assert name in settings, f"{named(page)} names {name}; see src/agent_memory/settings.py"
    for name in re.findall(r"`(agent_memory_\w+)", text):
        assert name.upper() in settings, f"{named(page)} names {name}; see src/agent_memory/settings.py"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_route_target_and_file_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    routes = {
        re.sub(r"\{\w+\}", "{}", route) for route in re.findall(r"\w+ /api/[\w/{}-]+", reference.routes())
    }
    for methods, path in re.findall(r"\b((?:GET|POST|PATCH|DELETE|PUT|\|)+) (/api/[\w/{}-]*[\w}])", text):
        for method in methods.split("|"):
            route = f"{method} " + re.sub(r"\{\w+\}", "{}", path)
            assert route in routes, f"{named(page)} names {method} {path}, which is no route: docs/rest.md"
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)", text):
        bench = REPOSITORY / "bench" / f"{target.removeprefix('bench-').replace('-', '_')}.py"
        known = re.search(rf"^{target}:", makefile, re.MULTILINE) or (
            target.startswith("bench-") and bench.exists()
        )
        assert known, f"{named(page)} says `make {target}`, which the Makefile does not know"
    for path in re.findall(r"`((?:tests|bench|src|docs)/[\w/.-]+\.(?:py|md|sql))`", text):
        assert (REPOSITORY / path).exists(), f"{named(page)} names {path}, which is not there"


def test_the_index_leads_to_every_page() -> None:
    index = documented.DOCS / "README.md"
    known = {(index.parent / link.partition("#")[0]).resolve() for link in documented.links(index)}
    missing = [named(page) for page in documented.DOCS.rglob("*.md") if page not in known and page != index]
    assert not missing, f"add to docs/README.md: {missing}"


def test_every_tool_of_the_mcp_server_is_in_the_readme_of_an_agent() -> None:
    text = (documented.DOCS / "PRIMER.md").read_text(encoding="utf-8")
    for name in re.findall(r"^## `(\w+)`", reference.tools(), re.MULTILINE):
        assert f"`{name}`" in text, f"docs/PRIMER.md does not name the tool {name}"


def heights() -> dict[str, int]:
    """The line of the drawing in docs/architecture.md on which each room stands: left of what is said of them."""
    drawing = (documented.DOCS / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    return {
        room: line
        for line, drawn in enumerate(drawing.splitlines())
        for room in re.findall(r"[a-z_]+", drawn[:56])
    }


def test_the_drawing_of_the_architecture_has_every_room() -> None:
    there = {
        path.name.removesuffix(".py")
        for path in PACKAGE.iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert heights().keys() == there, "draw the rooms of src/agent_memory into docs/architecture.md"


def test_imports_run_downwards_in_the_drawing() -> None:
    line = heights()
    upward = {
        f"{file.relative_to(REPOSITORY)}: {own} imports {other}"
        for own, other, file in reference.imports()
        if own != "__main__" and line[own] >= line[other]
    }
    assert not upward, "docs/architecture.md draws these the other way"


def test_the_hook_stands_alone() -> None:
    assert "agent_memory" not in re.findall(
        r"^\s*(?:from|import) (\w+)", (PACKAGE / "hook.py").read_text(), re.MULTILINE
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            "import runpy, sys; runpy.run_path(sys.argv[1])",
            PACKAGE / "hook.py",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
