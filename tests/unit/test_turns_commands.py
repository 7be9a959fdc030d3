from __future__ import annotations

import pytest

from agent_memory.observations.commands import checks, commit_subject, is_ours, key_of, looks


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("git commit -m 'a && b'", "git commit"),
        ("git -C /srv/app commit -m x", "git commit"),
        ("git add -A && git commit -m x", "git commit"),
        ("cd web && npm run build -- --watch", "npm run build"),
        ("cargo build --release 2>&1 | tail -20", "cargo build"),
        ("pytest tests/test_a.py -q", "pytest"),
        ("python -m pytest -q", "pytest"),
        ("uv run --frozen pytest -q", "pytest"),
        ("FOO=1 python3 ./scripts/manage.py migrate", "python3 manage.py"),
        ("sudo apt-get install -y jq", "apt-get install"),
        ("timeout 60 make test", "make test"),
        ("/usr/local/bin/mix deps.get", "mix deps.get"),
        ("cat a.txt | grep b", "cat"),
        ("cat > f.py <<'EOF'\nimport os; os.remove('x')\nEOF", "cat"),
        ("grep -r 'a; rm -rf b' .", "grep"),
        ("", ""),
        ("&& ;", ""),
    ],
)
def test_a_command_is_known_by_its_program_and_subcommand(command: str, key: str) -> None:
    assert key_of(command) == key


def test_looking_around_is_told_from_doing() -> None:
    assert all(
        map(looks, ["ls -la", "git status", "cd x && grep -r foo .", "find . -name x | head", "gh pr view 3"])
    )
    assert not any(map(looks, ["git push", "rm -rf build", "ls && make", "docker compose up", "npm install"]))


def test_tests_builds_and_linters_are_checks() -> None:
    assert all(
        map(checks, ["pytest -q", "npm run lint", "cargo clippy", "make", "mix test | tail -5", "npx tsc"])
    )
    assert not any(map(checks, ["ls tests", "git push", "npm install", "cat build.log"]))


@pytest.mark.parametrize(
    ("command", "subject"),
    [
        ('git commit -m "Fix the login\n\nLong story"', "Fix the login"),
        ("git add . && git commit -qam 'Say hello'", "Say hello"),
        ("git commit -m \"$(cat <<'EOF'\nAdd a plugin\n\nMore.\nEOF\n)\"", "Add a plugin"),
        ("git commit --amend --no-edit", None),
        ("echo commit", None),
    ],
)
def test_the_subject_of_a_commit_is_read(command: str, subject: str | None) -> None:
    assert commit_subject(command) == subject


def test_commands_of_our_own_are_known_and_mentions_are_not() -> None:
    ours = [
        "agent-memory recall x",
        "cd a && agent-memory save y",
        "~/.venv/bin/agent-memory status",
        "uvx agent-memory up",
    ]
    assert all(map(is_ours, ours))
    assert not any(
        map(is_ours, ["cd agent-memory && ls", "echo 'agent-memory recall'", "git clone x/agent-memory"])
    )
