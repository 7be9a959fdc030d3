"""One project, one identity; two projects, two. Real repositories made by the real git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.journal import projects
from agent_memory.journal.projects import identify, normalise_remote


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def repository(folder: Path, remote: str | None = None) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "-m", "first")
    if remote:
        git(folder, "remote", "add", "origin", remote)
    return folder


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/Acme/Shop.git",
        "https://someone:a-key@github.com/acme/shop",
        "git@github.com:acme/shop.git",
        "ssh://git@github.com:22/acme/shop/",
        "github.com:acme/shop",
    ],
)
def test_every_spelling_of_a_remote_is_one_project(url: str) -> None:
    assert normalise_remote(url) == "github.com/acme/shop"


@pytest.mark.parametrize("url", ["", "shop", "not a url"])
def test_what_is_no_remote_names_no_project(url: str) -> None:
    assert normalise_remote(url) is None


def test_clones_worktrees_and_subfolders_of_one_remote_are_one_project(tmp_path: Path) -> None:
    main = repository(tmp_path / "main", "git@github.com:acme/shop.git")
    other = repository(tmp_path / "elsewhere" / "clone", "https://github.com/acme/shop")
    git(main, "worktree", "add", str(tmp_path / "worktree"))
    (main / "src" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(main)
    folders = [main, other, tmp_path / "worktree", main / "src" / "deep", tmp_path / "link"]
    assert {identify(str(folder)).key for folder in folders} == {"git:github.com/acme/shop"}


def test_worktrees_of_a_repository_without_remote_are_one_project(tmp_path: Path) -> None:
    main = repository(tmp_path / "main")
    git(main, "worktree", "add", str(tmp_path / "worktree"))
    (main / "src").mkdir()
    keys = {identify(str(f)).key for f in (main, main / "src", tmp_path / "worktree")}
    assert keys == {f"dir:{main.resolve()}/.git"}
    assert identify(str(tmp_path / "worktree")).name == "main"


def test_two_repositories_of_one_name_are_two_projects(tmp_path: Path) -> None:
    one = repository(tmp_path / "a" / "shop", "git@github.com:acme/shop.git")
    two = repository(tmp_path / "b" / "shop", "git@github.com:other/shop.git")
    three = repository(tmp_path / "c" / "shop")
    assert len({identify(str(folder)).key for folder in (one, two, three)}) == 3


def test_a_repository_in_the_home_folder_swallows_no_project_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(repository(tmp_path / "user", "git@github.com:user/dotfiles.git")))
    (tmp_path / "user" / "notes").mkdir()
    below = identify(str(tmp_path / "user" / "notes"))
    assert below.key == f"path:{(tmp_path / 'user' / 'notes').resolve()}"
    assert identify(str(tmp_path / "user")).key == f"path:{(tmp_path / 'user').resolve()}"


def test_the_root_is_a_project_of_its_own_and_of_nothing_below_it() -> None:
    assert identify("/").key == "path:/"
    assert identify("/nowhere/at/all").key == "path:/nowhere/at/all"


def test_a_clone_that_is_moved_is_the_project_of_its_remote(tmp_path: Path) -> None:
    shop = repository(tmp_path / "shop", "git@github.com:acme/shop.git")
    before = identify(str(shop)).key
    assert identify(str(shop.rename(tmp_path / "elsewhere"))).key == before


def test_a_folder_that_is_gone_is_known_by_its_path() -> None:
    assert identify("/home/dev/gone").key == "path:/home/dev/gone"


@pytest.mark.parametrize("cwd", [None, "", "relative/path"])
def test_no_folder_is_no_project(cwd: str | None) -> None:
    assert identify(cwd) == projects.UNKNOWN


def test_path_remote_id_and_name_resolve_to_the_same_project(conn: Connection, tmp_path: Path) -> None:
    folder = repository(tmp_path / "shop", "git@github.com:acme/shop.git")
    known = projects.ensure(conn, identify(str(folder)))
    for argument in (
        str(folder),
        "https://github.com/acme/shop",
        str(known),
        "git:github.com/acme/shop",
        "shop",
    ):
        assert projects.resolve(conn, argument) == known
    assert projects.resolve(conn, str(tmp_path)) is None
    assert projects.ensure_argument(conn, str(folder)) == known


def test_a_name_that_two_projects_have_resolves_to_neither(conn: Connection) -> None:
    projects.ensure(conn, projects.Identity("git:a/x/shop", "shop", None))
    projects.ensure(conn, projects.Identity("git:a/y/shop", "shop", None))
    assert projects.resolve(conn, "shop") is None


def test_a_word_that_is_neither_path_nor_remote_makes_no_project(conn: Connection) -> None:
    with pytest.raises(AgentMemoryError, match="absolute path"):
        projects.ensure_argument(conn, "shop")
