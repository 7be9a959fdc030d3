"""Promise 7 on real parts: what Claude Code did is recorded, forgotten, and stays so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e import claude
from tests.e2e.installation import Installation, installed, until
from tests.e2e.messages_api import Script, text, tool

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("client")]

PASSAGE = "The heron nests behind the lighthouse of Kingsbarns"
VARIANT = "the HERON  nests behind the lighthоuse of Kіngsbarns"  # Cyrillic о and і
WORDS = ("heron", "kingsbarn", "kіngsbarn", "lighthous")
ASKED = f"{PASSAGE}. Write that into NOTES.md, please."
KEPT = "Which port does the shop listen on? Look into shop.toml and tell me."
QUESTION = "Where does the heron nest?"


@pytest.fixture
def machine() -> Iterator[Installation]:
    with installed({"shop.toml": "port = 4711\n"}) as machine:
        machine.run("up", "--detach")
        yield machine


def settle(machine: Installation) -> None:
    def idle() -> bool:
        health = machine.get("/api/health")
        return not (health["spool"]["pending"] or health["queue"]["pending"] or health["queue"]["unembedded"])

    until("everything is remembered", idle)


@pytest.mark.parametrize("kind", ["text", "session"])
def test_what_a_session_said_is_forgotten_and_stays_so(machine: Installation, kind: str) -> None:
    script: Script = {
        ASKED: [
            [tool("Bash", command=f"echo '{PASSAGE}' >> NOTES.md && cat NOTES.md")],
            [text(f"I noted that {PASSAGE}. It is in NOTES.md.")],
        ],
        KEPT: [[tool("Bash", command="cat shop.toml")], [text("The shop listens on port 4711.")]],
    }
    secret = claude.run(machine.home, machine.project, script, ASKED)
    claude.run(machine.home, machine.project, script, KEPT)
    settle(machine)
    machine.run("save", f"{PASSAGE}.")
    assert "heron" in machine.run("recall", QUESTION).lower()
    assert PASSAGE in machine.dump()

    chosen = ["--text", VARIANT] if kind == "text" else ["--session", secret.session_id]
    assert "Would go:" in machine.run("forget", *chosen, "--dry-run")
    assert PASSAGE in machine.dump(), "a dry run changes nothing"
    receipt = json.loads(machine.run("forget", *chosen, "--yes", "--json"))
    assert receipt["counts"]["mem_user_prompts"] == 1
    assert not any(word in json.dumps(receipt).lower() for word in WORDS)
    if kind == "session":  # the note was saved by hand, in no session
        assert "heron" in machine.run("recall", QUESTION).lower()
        machine.run("forget", "--text", PASSAGE, "--yes")

    transcripts = machine.home / ".claude" / "projects"
    copies = machine.home / "copies"
    shutil.copytree(transcripts, copies)
    machine.run("backfill")
    machine.run("backfill", str(copies))
    machine.rows("delete from mem_transcripts returning path")
    machine.run("backfill")
    settle(machine)
    machine.run("reindex")
    machine.run("down")
    machine.run("up", "--detach")
    settle(machine)

    dump = machine.dump().lower()
    assert "4711" in dump
    assert not any(word in dump for word in WORDS)
    told = machine.run("recall", QUESTION).lower()
    assert not any(word in told for word in WORDS)
    assert "4711" in machine.run("recall", "which port does the shop listen on?")
    for file in machine.files():
        if "pg_wal" not in file.parts:
            content = file.read_bytes().lower()
            assert b"kingsbarns" not in content, file
