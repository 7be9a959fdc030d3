"""Session files of Claude Code, as its clients write them, made up: projects with tools of several trades, which
`trades.toml` has, and programs, turns that follow each other, results that lead to the next call, calls that fail and
are made otherwise or given up, questions that need no tool, and ones that say too little. The answers follow from the
results, so a model can learn that they do. Nothing in them is anybody's."""

from __future__ import annotations

import json
import tomllib
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
CODING = 0.25
"""So many of the sessions are about a program."""
Trade = dict[str, Any]
"""As `trades.toml` has it, and `server`, which its tools are of."""


def write(folder: Path, *, projects: int, sessions: int, turns: int = 3, seed: int = 0) -> Path:
    """A folder of projects, each with its session files. A project has trades of its own."""
    rng = Random(seed)
    told = tomllib.loads((Path(__file__).parent / "trades.toml").read_text(encoding="utf-8"))
    trades = [{"server": server, **trade} for server, trade in told.items()]
    for project in range(projects):
        mine = trades[project::projects]
        place = folder / f"-home-dev-{mine[0]['server'].replace('_', '-')}-{project}"
        place.mkdir(parents=True)
        for number in range(sessions):
            session = str(uuid.UUID(int=rng.getrandbits(128), version=4))
            began = BEGAN + timedelta(hours=project * 100 + number)
            lines = _Lines(session, f"/home/dev/{place.name.removeprefix('-home-dev-')}", began, rng)
            if rng.random() < CODING:
                _program(lines, rng, turns)
            else:
                _trade(lines, rng, mine[number % len(mine)], turns)
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines.told)
            (place / f"{session}.jsonl").write_text(text, encoding="utf-8")
    return folder


class _Lines:
    """The lines of a session."""

    def __init__(self, session: str, cwd: str, began: datetime, rng: Random) -> None:
        self.told: list[dict[str, Any]] = []
        self._session, self._cwd, self._at, self._rng = session, cwd, began, rng
        self._parent: str | None = None
        self._prompt = ""

    def asked(self, text: str) -> None:
        self._prompt = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        self._say("user", _capital(text), promptSource="typed", origin={"kind": "human"})

    def answered(self, text: str) -> None:
        self._say("assistant", [{"type": "text", "text": _capital(text)}])

    def called(self, tool: str, given: dict[str, Any], result: str, *, failed: bool = False) -> None:
        id_ = f"toolu_{self._rng.getrandbits(64):016x}"
        self._say("assistant", [{"type": "tool_use", "id": id_, "name": tool, "input": given}])
        told = {
            "type": "tool_result",
            "tool_use_id": id_,
            "content": result,
            **({"is_error": True} if failed else {}),
        }
        self._say("user", [told], toolUseResult=f"Error: {result}" if failed else {"content": result})

    def _say(self, kind: str, content: Any, **more: Any) -> None:
        self._at += timedelta(seconds=2)
        own = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        message: dict[str, Any] = {"role": kind, "content": content}
        if kind == "assistant":
            message |= {
                "id": f"msg_{self._rng.getrandbits(64):016x}",
                "type": "message",
                "model": "claude-opus-5-5",
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 10, "output_tokens": 10},
            }
        self.told.append(
            {
                "parentUuid": self._parent,
                "isSidechain": False,
                "promptId": self._prompt,
                "type": kind,
                "message": message,
                "uuid": own,
                "timestamp": self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "userType": "external",
                "entrypoint": "cli",
                "cwd": self._cwd,
                "sessionId": self._session,
                "version": "2.1.330",
                "gitBranch": "main",
                **more,
            }
        )
        self._parent = own


def _trade(lines: _Lines, rng: Random, trade: Trade, turns: int) -> None:
    """A session with a trade's tools: turns of different kinds, each about another name."""
    work = _Work(lines, rng, trade)
    common: list[Callable[[], None]] = [work.fact, work.tell, work.chain, work.chain, work.put, work.again]
    less: list[Callable[[], None]] = [
        *(work.both, work.too_much, work.misspelt, work.fallback, work.unknown, work.miswritten),
        *(work.in_vain, work.hopeless, work.hopeless, work.blocked, work.which, work.how_much),
        *(work.no_tool, work.no_tool, work.no_tool),
    ]
    kinds = [*rng.sample(common, turns // 2), *rng.sample(less, turns - turns // 2)]
    rng.shuffle(kinds)
    for kind in kinds:
        kind()


class _Work:
    """The turns that a trade's tools allow."""

    def __init__(self, lines: _Lines, rng: Random, trade: Trade) -> None:
        self.lines, self.rng, self.trade = lines, rng, trade
        self.by, self.id = trade["by"], trade["find"]["id"]
        self._names: list[str] = []

    # What a turn is made of.

    def _name(self) -> str:
        """One that was not talked of yet, as long as there is one."""
        if not self._names:
            self._names = self.rng.sample(self.trade["names"], len(self.trade["names"]))
        return self._names.pop()

    def _asks(self, texts: Sequence[str], name: str, **given: Any) -> None:
        self.lines.asked(_filled(self.rng.choice(texts), name, **given))

    def _call(self, kind: str, given: dict[str, Any], result: str, *, failed: bool = False) -> None:
        result = self.rng.choice(("", "Error: ", "error: ", "Failed: ")) + result if failed else result
        tool = f"mcp__{self.trade['server']}__{self.trade[kind]['tool']}"
        self.lines.called(tool, given, result, failed=failed)

    def _fact(self) -> tuple[str, dict[str, Any]]:
        key: str = self.rng.choice(list(self.trade["facts"]))
        return key, self.trade["facts"][key]

    def _find(self, name: str) -> dict[str, Any]:
        facts = {key: _number(self.rng.choice(one["values"])) for key, one in self.trade["facts"].items()}
        record = {self.id: self._number(), **facts}
        self._call("find", {self.by: name}, json.dumps({self.by: name, **record}, ensure_ascii=False))
        return record

    def _number(self) -> str:
        return f"{self.trade['find']['begins']}{self.rng.randrange(100, 9_999)}"

    def _act(self, name: str, id_: str) -> None:
        act = self.trade["act"]
        at = f"{self.rng.randrange(7, 19):02}:{self.rng.randrange(60):02}"
        self._call("act", {self.id: id_}, _filled(act["gives"], name, id=id_, t=at))
        self.lines.answered(_filled(act["says"], name, id=id_, t=at))

    def _put(self, name: str, amount: int) -> None:
        put = self.trade["put"]
        self._call("put", {self.by: name, put["what"]: amount}, _filled(put["gives"], name, a=amount))
        self.lines.answered(_filled(put["says"], name, a=amount))

    def _amount(self) -> int:
        most: int = self.trade["put"]["most"]
        return self.rng.randrange(max(2, most // 4), most + 1)

    def _put_too_much(self, name: str, amount: int) -> None:
        what, most = self.trade["put"]["what"], self.trade["put"]["most"]
        refusals = (
            f"{amount} is too many: {most} {what} are allowed",
            f"{what} must not exceed {most}",
            f"refused: no more than {most} {what}",
        )
        self._call("put", {self.by: name, what: amount}, self.rng.choice(refusals), failed=True)

    # The turns.

    def fact(self) -> None:
        name, (key, fact) = self._name(), self._fact()
        self._asks(fact["asks"], name)
        self.lines.answered(_filled(fact["says"], name, v=self._find(name)[key]))

    def tell(self, asks: Sequence[str] = ()) -> None:
        name, tell = self._name(), self.trade["tell"]
        value = self.rng.choice(tell["values"])
        self._asks(asks or tell["asks"], name)
        self._call("tell", {self.by: name}, _filled(tell["gives"], name, v=value))
        self.lines.answered(_filled(tell["says"], name, v=value))

    def again(self) -> None:
        """The same of another one."""
        self.tell()
        self.tell(("Now {n}.", "The same for {n}, please.", "{N} too, please.", "I also want it of {n}."))

    def both(self) -> None:
        names, (key, fact) = [self._name(), self._name()], self._fact()
        self.lines.asked(
            f"{_filled(self.rng.choice(fact['asks']), names[0])} Tell me the same of {names[1]}."
        )
        values = [self._find(name)[key] for name in names]
        said = [_filled(fact["says"], name, v=value) for name, value in zip(names, values, strict=True)]
        self.lines.answered(" ".join(map(_capital, said)))

    def chain(self) -> None:
        """The record has the id that the next call wants."""
        name = self._name()
        self._asks(self.trade["act"]["asks"], name)
        self._act(name, self._find(name)[self.id])

    def put(self) -> None:
        name, amount = self._name(), self._amount()
        self._asks(self.trade["put"]["asks"], name, a=amount)
        self._put(name, amount)

    def too_much(self) -> None:
        """Refused, and the user has said what to do then, or says it now."""
        name, most, what = self._name(), self.trade["put"]["most"], self.trade["put"]["what"]
        amount = most + self.rng.randrange(1, most)
        then = (
            "Take the maximum when it is refused.",
            "When it is not allowed, use the limit.",
            "Otherwise the most that works.",
        )
        said = self.rng.random() < 0.6
        asked = _filled(self.rng.choice(self.trade["put"]["asks"]), name, a=amount)
        self.lines.asked(f"{asked} {self.rng.choice(then)}" if said else asked)
        self._put_too_much(name, amount)
        if not said:
            self.lines.answered(f"That was refused: {most} {what} are the limit. Do you want {most}?")
            self.lines.asked(self.rng.choice(("Yes.", "Yes, please.", f"Fine, {most}.")))
        self._put(name, most)

    def misspelt(self) -> None:
        """The tool says which name was meant."""
        name, (key, fact) = self._name(), self._fact()
        wrong = _misspelt(name, self.rng)
        self._asks(fact["asks"], wrong)
        told = self.rng.choice((f"{wrong} is unknown, did you mean {name}?", f"no match; closest: {name}"))
        self._call("find", {self.by: wrong}, told, failed=True)
        self.lines.answered(_filled(fact["says"], name, v=self._find(name)[key]))

    def fallback(self) -> None:
        """Not there, and the user has named another one."""
        name, (key, fact) = self._name(), self._fact()
        wrong = self.rng.choice(_STRANGERS)
        then = (
            "Should it be unknown, take {n}.",
            "If not known: {n}.",
            "Use {n} instead when it is missing.",
        )
        self.lines.asked(
            f"{_filled(self.rng.choice(fact['asks']), wrong)} {_filled(self.rng.choice(then), name)}"
        )
        self._call("find", {self.by: wrong}, f"nothing found for {wrong}", failed=True)
        self.lines.answered(_filled(fact["says"], name, v=self._find(name)[key]))

    def unknown(self) -> None:
        """Not there, and that is the answer."""
        wrong, some = self.rng.choice(_STRANGERS), ", ".join(self.rng.sample(self.trade["names"], 2))
        self._asks(self.trade["tell"]["asks"], wrong)
        self._call("tell", {self.by: wrong}, f"{wrong} is not known here; known are {some}", failed=True)
        self.lines.answered(f"{wrong} is not known. There are {some}: which one do you mean?")

    def miswritten(self) -> None:
        """The tool says how an id is written."""
        good, like = self._number(), self._number()
        begins = self.trade["find"]["begins"]
        ill = f"{begins.strip('-_').lower()} {good.removeprefix(begins)}"
        self.lines.asked(f"{_in_words(self.trade['act']['tool'])}, {self.id} {ill}.")
        self._call("act", {self.id: ill}, f"write the {self.id} like {like}", failed=True)
        self._act(f"{self.id} {good}", good)

    def in_vain(self) -> None:
        """Made otherwise, and refused again: that is the answer, and nothing is tried a third time."""
        name, why = self._name(), self.rng.choice(_TROUBLES)
        wrong = _misspelt(name, self.rng)
        self._asks(self.trade["tell"]["asks"], wrong)
        self._call("tell", {self.by: wrong}, f"{wrong} is unknown, did you mean {name}?", failed=True)
        self._call("tell", {self.by: name}, why, failed=True)
        self.lines.answered(f"I could not find out: {why}.")

    def hopeless(self) -> None:
        """Refused, and nothing could be done otherwise: that is the answer. A second try that is nearly the same would
        teach to try on."""
        name, why = self._name(), self.rng.choice(_TROUBLES)
        kind = self.rng.choice(("find", "tell"))
        asks = self.trade["tell"]["asks"] if kind == "tell" else self._fact()[1]["asks"]
        self._asks(asks, name)
        self._call(kind, {self.by: name}, why, failed=True)
        self.lines.answered(f"I could not find that out about {name}: {why}.")

    def blocked(self) -> None:
        """What the user wants cannot be done now: that is the answer."""
        name, why = self._name(), self.rng.choice(_TROUBLES)
        self._asks(self.trade["act"]["asks"], name)
        self._call("act", {self.id: self._find(name)[self.id]}, why, failed=True)
        self.lines.answered(f"That was not possible for {name}: {why}.")

    def which(self) -> None:
        """Nothing says of which; then it is said."""
        name, thing, words = self._name(), self.trade["thing"], _in_words(self.trade["act"]["tool"])
        self._asks((f"Please {words}.", f"{words}.", f"I need you to {words}.", f"Can you {words}?"), name)
        which = (f"Which {thing} do you mean?", f"For which {thing}?", f"Gladly. Which {thing} is it?")
        self.lines.answered(self.rng.choice(which))
        self._asks(("{n}.", "I mean {n}.", "For {n}."), name)
        self._act(name, self._find(name)[self.id])

    def how_much(self) -> None:
        """Nothing says of which, and how much; then it is said."""
        name, amount, words = self._name(), self._amount(), _in_words(self.trade["put"]["tool"])
        thing, what = self.trade["thing"], self.trade["put"]["what"]
        self._asks((f"Please {words}.", f"Someone has to {words}.", f"{words}, please."), name)
        which = (f"For which {thing}, and how many {what}?", f"Which {thing}? And how many {what}?")
        self.lines.answered(self.rng.choice(which))
        self._asks(("{n}, {a}.",), name, a=amount)
        self._put(name, amount)

    def no_tool(self) -> None:
        _known(self.lines, self.rng)


def _program(lines: _Lines, rng: Random, turns: int) -> None:
    """A session about a program, with Claude Code's own tools."""
    work = _Coding(lines, rng)
    kinds = [
        work.where,
        work.constant,
        work.tests,
        work.files,
        work.moved,
        work.change,
        work.history,
        work.known,
    ]
    for kind in rng.sample(kinds, turns):
        kind()


class _Coding:
    def __init__(self, lines: _Lines, rng: Random) -> None:
        self.lines, self.rng = lines, rng
        self._parts = rng.sample(_PARTS, len(_PARTS))

    def _part(self) -> str:
        self._parts = self._parts or list(_PARTS)
        return self._parts.pop()

    def where(self) -> None:
        part, line = self._part(), self.rng.randrange(8, 240)
        name = f"{self.rng.choice(('load', 'save', 'check', 'build', 'send'))}_{part}"
        asks = (f"Where is {name} defined?", f"Find {name}.", f"In which file is {name}?")
        self.lines.asked(self.rng.choice(asks))
        self.lines.called("Grep", {"pattern": f"def {name}"}, f"src/{part}.py:{line}:def {name}(")
        self.lines.answered(f"{name} is defined in src/{part}.py, line {line}.")

    def constant(self) -> None:
        part, name, value = self._part(), self.rng.choice(_CONSTANTS), self.rng.randrange(2, 90)
        file = f"src/{part}.py"
        self.lines.asked(self.rng.choice((f"What is {name} in {file}?", f"Look up {name} in {file}.")))
        self.lines.called("Read", {"file_path": file}, f"1\timport os\n2\t\n3\t{name} = {value}\n")
        self.lines.answered(f"{name} is {value} in {file}.")

    def tests(self) -> None:
        part, count = self._part(), self.rng.randrange(2, 60)
        self.lines.asked(self.rng.choice((f"Run the tests of {part}.", f"Do the {part} tests pass?")))
        given = {"command": f"pytest tests/test_{part}.py"}
        if self.rng.random() < 0.4:
            self.lines.called("Bash", given, f"1 failed, {count} passed: test_{part}_is_saved", failed=True)
            self.lines.answered(f"No: test_{part}_is_saved fails, {count} others pass.")
        else:
            self.lines.called("Bash", given, f"{count} passed in 0.{count}s")
            self.lines.answered(f"All {count} tests of {part} pass.")

    def files(self) -> None:
        part = self._part()
        self.lines.asked(self.rng.choice((f"Which files has {part}?", f"List the files of {part}.")))
        found = [f"{part}/{name}.py" for name in self.rng.sample(("models", "views", "api", "forms"), 2)]
        self.lines.called("Glob", {"pattern": f"{part}/*.py"}, "\n".join(found))
        self.lines.answered(f"There are two: {found[0]} and {found[1]}.")

    def moved(self) -> None:
        """Not where it was said to be: it is looked for, and read."""
        part, name, value = self._part(), self.rng.choice(_CONSTANTS), self.rng.randrange(2, 90)
        self.lines.asked(f"What is {name} in {part}.py?")
        self.lines.called("Read", {"file_path": f"{part}.py"}, "File does not exist.", failed=True)
        self.lines.called("Glob", {"pattern": f"**/{part}.py"}, f"lib/{part}.py")
        self.lines.called("Read", {"file_path": f"lib/{part}.py"}, f"1\t{name} = {value}\n")
        self.lines.answered(f"{name} is {value}, in lib/{part}.py.")

    def change(self) -> None:
        part, name = self._part(), self.rng.choice(_CONSTANTS)
        old, new = self.rng.sample(range(2, 90), 2)
        file = f"src/{part}.py"
        self.lines.asked(
            self.rng.choice((f"Set {name} to {new} in {file}.", f"{name} in {file} should be {new}."))
        )
        self.lines.called("Read", {"file_path": file}, f"1\t{name} = {old}\n")
        given = {"file_path": file, "old_string": f"{name} = {old}", "new_string": f"{name} = {new}"}
        self.lines.called("Edit", given, f"{file} has been updated.")
        self.lines.answered(f"{name} is {new} now; it was {old}.")

    def history(self) -> None:
        part = self._part()
        about = self.rng.choice(
            ("Round the prices", "Mend the login", "Drop the old cache", "Name the columns")
        )
        self.lines.asked(
            self.rng.choice((f"What was the last commit of {part}?", f"What changed last in {part}?"))
        )
        self.lines.called("Bash", {"command": f"git log -1 --format=%s {part}"}, about)
        self.lines.answered(f"The last commit of {part}: {about}.")

    def known(self) -> None:
        _known(self.lines, self.rng)


_PARTS = ("cart", "orders", "users", "mail", "search", "prices", "reports", "cache", "upload", "tokens")
_CONSTANTS = ("TIMEOUT", "RETRIES", "PAGE_SIZE", "MAX_ITEMS", "WORKERS", "KEEP_DAYS")
_TROUBLES = (
    "no connection",
    "locked by another user",
    "this needs a supervisor",
    "it was done already",
    "not before tomorrow",
    "the system is being serviced",
    "the form must be signed first",
    "only the owner may see it",
    "no answer within ten seconds",
)
_STRANGERS = (
    "Quentin",
    "the green one",
    "number 99",
    "Marbella",
    "the new one",
    "Zephyr",
    "Old Tom",
    "the third one",
)


_KNOWN = (
    ("How many minutes has an hour?", "An hour has 60 minutes."),
    ("What colour do blue and yellow make?", "Blue and yellow make green."),
    ("Which month comes after June?", "July comes after June."),
    ("How many legs has a spider?", "A spider has eight legs."),
    ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("Which language do people speak in Brazil?", "People speak Portuguese in Brazil."),
    ("What does HTTP stand for?", "HTTP stands for Hypertext Transfer Protocol."),
    ("Is a whale a fish?", "No, a whale is a mammal."),
    ("How many days has a week?", "A week has seven days."),
    ("At how many degrees does water freeze?", "Water freezes at 0 degrees Celsius."),
    ("What do bees make?", "Bees make honey."),
    ("Hello!", "Hello! What can I do for you?"),
    ("Good morning.", "Good morning! How can I help?"),
    ("Great, that helps.", "I am glad that it helps."),
    ("Perfect, nothing else.", "You are welcome. Have a good day!"),
    ("Who are you?", "I am your assistant. I look things up and do them with the tools that I have."),
    ("Which ocean lies between Europe and America?", "The Atlantic lies between Europe and America."),
    ("What is a synonym of quick?", "A synonym of quick is fast."),
    ("How many sides has a triangle?", "A triangle has three sides."),
    ("What is ice made of?", "Ice is made of frozen water."),
    ("Which animal barks?", "A dog barks."),
    ("Where does the sun set?", "The sun sets in the west."),
    ("What do you call a young cat?", "A young cat is a kitten."),
    ("Name a fruit that is yellow.", "A banana is yellow."),
    ("What does a clock show?", "A clock shows the time."),
    ("How many hours has a day?", "A day has 24 hours."),
    ("Which metal do magnets attract?", "Magnets attract iron."),
    ("What is the plural of mouse?", "The plural of mouse is mice."),
    ("What is bread made from?", "Bread is made from dough."),
    ("Which sport uses a racket?", "Tennis uses a racket."),
    ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet."),
    ("What is a noun?", "A noun is a word for a thing, a place or a person."),
    ("Wonderful, talk to you later.", "Until later!"),
    ("That was quick, nice.", "I am glad. Tell me when you need more."),
    ("Sorry, I was away.", "No problem. What can I do for you?"),
    ("Never mind.", "All right. Tell me when you need something."),
)


def _known(lines: _Lines, rng: Random) -> None:
    """Asked and answered without a tool."""
    asked, answered = rng.choice(_KNOWN)
    lines.asked(asked)
    lines.answered(answered)


def _filled(text: str, name: str, **given: Any) -> str:
    return text.format(n=name, N=_capital(name), **given)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _in_words(tool: str) -> str:
    """As a person says a tool's name: `finish_job`, finish the job."""
    verb, _, thing = tool.partition("_")
    return f"{verb} the {thing.replace('_', ' ')}"


def _misspelt(name: str, rng: Random) -> str:
    """With a letter less, somewhere in the middle."""
    place = rng.randrange(len(name) // 2, len(name) - 1)
    return name[:place] + name[place + 1 :]


def _number(text: str) -> Any:
    """A value as JSON has it."""
    try:
        return int(text)
    except ValueError:
        return text
