"""Reading shell commands: what program they run, and whether they look, check or change. Pure functions.

Nothing here parses shell: quoted text is blanked, the rest is split at `&&`, `;` and `|`. It is right for
what agents type, and a wrong guess only costs a line of a memory.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import lru_cache

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"|\'[^\']*+\'', re.S)
_HEREDOC = re.compile(r"<<-?\s*['\"\\]?(\w+)")
_SPLIT = re.compile(r"&&|\|\|?|;|\n|(?<![>&])&(?![>&])")
_ASSIGNED = re.compile(r"\w+=\S*$")
_WORD = re.compile(r"[A-Za-z][\w:.-]*$")

_PREFIXES = re.compile(r"(?:sudo|env|time|timeout|nice|nohup|exec|command|xargs|npx|bunx|uvx|pipx)$")
_WRAPPER = re.compile(r"(?:sudo|env|time|timeout|nice|nohup|exec|command)$")
_REDIRECTED = re.compile(r"(?:\d*|&)(?:>>?|<)(?!&)|\d*>&\d")
_RUNNERS = {"uv", "poetry", "pdm", "hatch", "pipenv", "rye"}  # `uv run pytest` runs pytest
_COMMANDING = {  # with subcommands, and options before them
    *(
        "git",
        "npm",
        "pnpm",
        "yarn",
        "bun",
        "docker",
        "podman",
        "kubectl",
        "helm",
        "terraform",
        "cargo",
        "go",
        "mix",
    ),
    *(
        "gh",
        "glab",
        "aws",
        "gcloud",
        "az",
        "pip",
        "pip3",
        "uv",
        "poetry",
        "brew",
        "apt",
        "apt-get",
        "bundle",
        "make",
    ),
    *("docker-compose", "systemctl", "dotnet", "flutter", "mvn", "gradle", "gradlew", "supabase", "vercel"),
}
_TAKING_FILES = {  # their first word is a file, a folder or an address, never a subcommand
    *("pytest", "jest", "vitest", "mypy", "pyright", "eslint", "prettier", "tsc", "black", "flake8", "rspec"),
    *(
        "rm",
        "cp",
        "mv",
        "mkdir",
        "touch",
        "ln",
        "chmod",
        "psql",
        "mysql",
        "sqlite3",
        "curl",
        "wget",
        "ssh",
        "open",
    ),
}
_ALONE = re.compile(
    r"=|^--(?:no-.*|silent|verbose|quiet|debug|paginate|frozen|locked|offline|release|version|help|)$"
)
"""A long option that no value follows, as `--no-pager`."""
_NESTED = {"gh", "glab", "aws", "gcloud", "az"}
_INTERPRETERS = {"python", "python3", "node", "bash", "sh", "zsh", "ruby", "perl", "deno", "bun", "php"}
_SETTING = re.compile(
    r"(?:cd|export|source|\.|set|sleep|pushd|popd|umask|ulimit|shopt|alias|unset|exit|return)$"
)
_LOOKING = re.compile(
    r"(?:ls|cat|head|tail|less|more|[ef]?grep|rg|ag|find|fd|tree|wc|pwd|which|type|whereis|echo|printf|file|stat|du|df"
    r"|date|id|whoami|uname|sort|uniq|cut|tr|awk|sed|diff|cmp|jq|yq|column|basename|dirname|realpath|readlink|env"
    r"|printenv|ps|pgrep|lsof|true|false|test|\[|read|hexdump|xxd|strings|sha256sum|md5sum|nl)$"
)
_LOOKING_KEYS = re.compile(
    r"git (status|log|diff|show|branch|remote|blame|ls-files|rev-parse|config|describe|reflog|grep|fetch)$"
    r"|(gh \w+|bd|kubectl|docker|npm|pip|brew|cargo|go|systemctl) "
    r"(view|list|ls|show|ready|status|get|describe|ps|logs|inspect|freeze|tree|info|search|version|outdated)$"
)
_PREPARING = re.compile(r"(?:git add|mkdir|chmod|touch|rm|cp|mv|ln)$")
_FILE = re.compile(
    r"\.(?:[ch]|cc|cpp|css|exs?|go|html?|java|jsx?|json|lock|lua|md|php|py|rb|rs|sh|sql|toml|tsx?|txt|ya?ml)$"
)
_CHECKING = re.compile(
    r"test|spec\b|check|lint|build|compile|clippy|\b(jest|tox|nox|ruff|mypy|pyright|flake8|black|tsc|eslint|prettier"
    r"|make|cmake|ninja|mvn|gradlew?|bazel|credo|dialyzer|rubocop|phpunit|ctest|pre-commit|bench|validate|verify)\b"
)
_COMMIT_MESSAGE = re.compile(
    r"\s(?:-\w*m|--message)[ =]*(?:\"\$\(cat <<-?\s*['\"]?\w+['\"]?\n|[\"'])\s*([^\n\"']+)"
)
_OURS = re.compile(r"(?:^|[;&|(]\s*|\n\s*|\bnpx\s|\buvx\s|\brun\s)(?:\S*/)?agent-memory(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Run:
    """One program of a command line."""

    key: str
    """The program and its subcommand, as `key_of` says it."""
    text: str
    """As it was typed, with the assignments before it."""
    words: tuple[str, ...]
    """As the shell would pass them on, without assignments and without `sudo`, `time`, `timeout 30` and their like."""
    piped: bool
    """Its output goes into the next program."""


@lru_cache(maxsize=2_000)
def runs(command: str) -> tuple[Run, ...]:
    """The programs that a command line runs, in order, up to its first here-document. `cd` and its like, which run
    none, are among them with an empty key."""
    blanked = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), _before_heredoc(command)[:2_000])
    found = []
    start = 0
    for split in [*_SPLIT.finditer(blanked), None]:
        end = split.start() if split else len(blanked)
        text = command[start:end].strip(" \t()")
        if text:
            key = _key(_QUOTED.sub('""', text))
            found.append(Run(key, text, _words(text), piped=split is not None and split[0] == "|"))
        start = split.end() if split else end
    return tuple(found)


@lru_cache(maxsize=2_000)
def key_of(command: str) -> str:
    """The program and its subcommand, by which two runs of the same thing are known: `git commit`, `pytest`,
    `python manage.py`. Of several programs it is the first that does more than look or prepare."""
    keys = [key for key in map(_key, _parts(command)) if key]
    doing = [key for key in keys if not _looks(key)]
    telling = [key for key in doing if not _PREPARING.match(key)]
    return next(iter(telling or doing or keys), "")


def looks(command: str) -> bool:
    """Whether a command only looks around: `ls`, `grep`, `git status`."""
    return _looks(key_of(command))


def checks(command: str) -> bool:
    """Whether a command tests, builds or lints: its result is worth a line."""
    return bool(_CHECKING.search(key_of(command)))


def is_ours(command: str) -> bool:
    """Whether it runs `agent-memory`: what the memory was asked must not become a memory."""
    return bool(_OURS.search(_blanked(command)))


def commit_subject(command: str) -> str | None:
    """The subject line of the commit that a command makes."""
    if "commit" not in command or (found := _COMMIT_MESSAGE.search(command)) is None:
        return None
    return found[1].strip() or None


def _before_heredoc(command: str) -> str:
    here = _HEREDOC.search(command)
    return command[: here.start()] if here else command


def _blanked(command: str) -> str:
    """The command without its quoted texts, and up to its first here-document."""
    return _QUOTED.sub('""', _before_heredoc(command)[:2_000])


def _words(part: str) -> tuple[str, ...]:
    try:
        words = shlex.split(part)
    except ValueError:  # a quote that is not closed
        words = part.split()
    words = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not _REDIRECTED.match(word) and not _REDIRECTED.fullmatch(before)
    ]
    while words and (_ASSIGNED.match(words[0]) or _WRAPPER.match(words[0])):
        wrapper = words.pop(0)
        while words and wrapper == "timeout" and re.match(r"-|[\d.]+[smhd]?$", words[0]):
            words.pop(0)
    return tuple(words)


def _parts(command: str) -> list[str]:
    return _SPLIT.split(_blanked(command))


def _key(part: str) -> str:
    tokens = part.replace("$(", " ").replace("(", " ").split()
    while tokens and (
        _ASSIGNED.match(tokens[0]) or _PREFIXES.match(tokens[0]) or tokens[0][0] in "-{}!\\0123456789"
    ):
        tokens.pop(0)
    if len(tokens) > 2 and tokens[0] in _RUNNERS and tokens[1] == "run":
        tokens = [t for t in tokens[2:] if not t.startswith("-")]
    if not tokens:
        return ""
    program = tokens[0].rsplit("/", 1)[-1]
    if _SETTING.match(program):
        return ""
    rest = tokens[1:]
    if program.startswith(("python", *_INTERPRETERS)) and rest:
        if "-m" in rest[:-1]:
            return rest[rest.index("-m") + 1]
        script = next((t for t in rest if not t.startswith("-") and not t.startswith('"')), "")
        return f"{program} {script.rsplit('/', 1)[-1]}".strip()
    if _LOOKING.match(program):
        return program
    if program in _TAKING_FILES or (rest and rest[0].startswith("-") and program not in _COMMANDING):
        return program  # what follows is the option's value, as in `psql -h localhost`
    while rest and rest[0].startswith("-"):
        # An option's value (`git -C folder commit`) is not the subcommand.
        valued = rest[0] in {"-C", "-p"} or (rest[0].startswith("--") and not _ALONE.search(rest[0]))
        rest = rest[2:] if valued and len(rest) > 2 else rest[1:]
    if rest and _WORD.match(rest[0]) and not _FILE.search(rest[0]):
        second = f"{program} {rest[0]}"
        # `npm run build` is told apart from `npm run test`, `gh pr view` from `gh pr merge`.
        deeper = rest[0] == "run" or program in _NESTED
        return f"{second} {rest[1]}" if deeper and len(rest) > 1 and _WORD.match(rest[1]) else second
    return program


def _looks(key: str) -> bool:
    return not key or bool(_LOOKING.match(key) or _LOOKING_KEYS.match(key))
