"""Every command that a document shows, typed as it stands in a home that holds the sample.

What cannot be typed in a test, or is typed in another one, is named here with the reason; its form is checked for all
(tests/unit/test_docs.py).
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from agent_memory import sample
from agent_memory.cli import main
from tests import documented
from tests.e2e import claude
from tests.e2e.installation import COMMAND, Installation, installed

pytestmark = pytest.mark.timeout(900)

NOT_TYPED = {
    "backup restore": "asks; tests/e2e/test_backup.py",
    "backup schedule": "writes into this machine's scheduler; tests/integration/test_backup_schedule.py",
    "connect": "tests/e2e/test_primer.py, each agent",
    "disconnect": "tests/e2e/test_primer.py, each agent",
    "down": "stops what the others need; here at the end",
    "finetune": "needs the packages and the hours of a training; its own tests",
    "lesson review": "a dialogue",
    "locate": "the plugin's own",
    "mcp": "tests/e2e/test_mcp_outside.py",
    "open": "tests/e2e/test_viewer.py",
    "project merge": "needs two projects; tests/integration/test_project_groups.py",
    "project split": "as before",
    "redact FILE": "tests/integration/test_rescan.py",
    "tail": "has no end of its own; tests/e2e/test_tail.py",
    "token revoke": "names one that there is; tests/integration/test_access.py",
    "up": "runs until it is stopped; --detach is typed",
    "welcome": "typed first, below",
    "wizard": "a screen of its own",
}
ASKS = ("forget", "retention run")
"""They ask first; typed with --yes, where they do not only show."""
MAY_FIND_TROUBLE = ("doctor", "status")
"""1 says that something is not as it should be, which it may be on a machine of tests."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Installation]:
    with installed({"ferry.py": "hull = None\n"}, connected=False) as made:
        made.run("up", "--detach")
        made.run("welcome")
        for text in (
            "One.",
            "Two.",
            "Three.",
            "The ferry is painted every spring.",
            "It is a passage of time.",
        ):
            made.run("save", text)
        made.run(
            "lesson", "add", "Use --force-with-lease.", "--pattern", "git push.*--force", "--tool", "Bash"
        )
        rule = {
            "title": "No npm",
            "rule": "Use pnpm.",
            "trigger_tool": "Bash",
            "trigger_pattern": "npm install",
        }
        made.post("/api/lessons", rule | {"project": str(made.project)}, agent="claude")
        made.run("backup", "now")
        yield made


def typed() -> list[list[str]]:
    """What is typed: each command of the documents once, values in the place of what stands for something."""
    found: list[list[str]] = []
    for page in documented.pages():
        for shown in documented.commands(page):
            name, given = documented.split(shown.words)
            words = " ".join(name)
            skipped = any(f"{words} ".startswith(f"{one} ") for one in NOT_TYPED) and "--detach" not in given
            group = not hasattr(documented.find(name), "callback") or hasattr(
                documented.find(name), "commands"
            )
            if skipped or group or "…" in given or not _complete(name, given):
                continue
            given += ["--yes"] if words in ASKS and "--dry-run" not in given else []
            if [*name, *given] not in found:
                found.append([*name, *given])
    return found


def _complete(name: tuple[str, ...], given: list[str]) -> bool:
    """Whether that is more than a command's mention."""
    command = documented.find(name)
    assert command is not None
    try:
        command.make_context(" ".join(name), [documented.filled(word) for word in given])
    except Exception:
        return False
    return name not in (("forget",), ("lesson", "add")) or any(word.startswith("--") for word in given)


def _late(words: list[str]) -> int:
    """The later, the more it takes away from what the others need."""
    order = ("retract", "retention set", "retention", "lesson retire", "forget", "forget --project")
    said = f"{shlex.join(words)} "
    places = [place for place, start in enumerate(order, 1) if said.startswith(f"{start} ")]
    return 0 if "--dry-run" in words else max(places, default=0)


def values(machine: Installation) -> dict[str, str]:
    """What stands in the place of a name in capitals."""
    (project,) = (one for one in machine.get("/api/projects")["items"] if one["path"] == str(machine.project))
    notes = machine.items("/api/observations", project=str(machine.project))
    (session,) = machine.rows("select id from mem_sessions limit 1")
    return {
        "ID": str(notes[0]["id"]),
        "ID1": str(notes[1]["id"]),
        "ID7": str(notes[2]["id"]),
        "ID2": str(notes[3]["id"]),
        "LESSON": "1",
        "CANDIDATE": "2",
        "SESSION": str(session["id"]),
        "PROJECT": str(project["id"]),
        "PATH": str(machine.project),
        "FILE": str(sample.session()),
        "QUERY": "ferry",
        "WORDS": "ferry",
        "TEXT": "Something to remember.",
        "CALL": "git push --force",
    }


def test_bash_completes_commands_projects_and_ids(machine: Installation) -> None:
    note = values(machine)["ID"]
    for typed_so_far, offered in (
        ("agent-memory rec", {"recall"}),
        ("agent-memory recall x --project web", {"webshop"}),
        (f"agent-memory show {note}", {note}),
        ("agent-memory connect co", {"codex", "copilot"}),
    ):
        words = typed_so_far.split()
        script = f"""
            eval "$({COMMAND} --show-completion)"
            COMP_WORDS=({typed_so_far}); COMP_CWORD={len(words) - 1}
            _agent_memory_completion agent-memory; printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        environment = claude.environment(machine.home)
        environment["PATH"] = f"{COMMAND.parent}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=machine.project,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert set(done.stdout.split()) == offered, done.stderr


def test_every_command_of_the_documents_does_what_it_says(
    machine: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = values(machine)
    commands = sorted(typed(), key=_late)
    assert len(commands) > 40, "the documents show more commands than this"
    for name, value in claude.environment(machine.home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AGENT_MEMORY_HOME", str(machine.memory))
    monkeypatch.chdir(machine.project)
    wrong: list[str] = []
    for number, words in enumerate(commands):
        filled = _filled(words, known | {"TOKEN": f"laptop-{number}"})
        # In this process: sixty starts of Python are most of the time that it would take.
        done = CliRunner().invoke(main.app, filled, prog_name="agent-memory")
        if done.exit_code not in ((0, 1) if words[0] in MAY_FIND_TROUBLE else (0,)):
            wrong.append(f"{shlex.join(filled)}: {done.exit_code} {done.exception!r}\n{done.output}")
    assert not wrong, "\n".join(wrong)


def _filled(words: list[str], known: dict[str, str]) -> list[str]:
    """The words with values for those that stand for something, each of its own kind."""
    kinds = {"lesson": {"ID": "LESSON"}, "token": {"NAME": "TOKEN"}, "backfill": {"PATH": "FILE"}}.get(
        words[0], {}
    )
    if words[:2] == ["lesson", "reject"]:
        kinds = {"ID": "CANDIDATE"}
    bare = [word.removesuffix("...").removesuffix("…") for word in words]
    filled = [known.get(kinds.get(word, word), word) for word in bare]
    if words[0] in ("show", "retract", "forget"):  # an example's numbers
        filled = [
            known[f"ID{word[-1]}"] if word.isdigit() and bare[i] == word else word
            for i, word in enumerate(filled)
        ]
    return [word for word in filled if words[0] != "backup" or word not in ("NAME", "FOLDER")]
