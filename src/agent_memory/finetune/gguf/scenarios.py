"""Conversations that base and tuned model are both led through, with tools that no training row has (`pretend`)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent_memory.finetune.training.score import Call

Kind = Literal["chain", "failure", "again", "choice", "no tool", "vague"]
"""chain: a result leads to the next call. failure: a call fails and must be made otherwise. again: the user goes on.
choice: the right one of several tools. no tool: the answer is known. vague: too little is said to act on."""
SYSTEM = "You are a helpful assistant. Use the tools when you need them, and answer in a sentence."


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    kind: Kind
    says: tuple[str, ...]
    """What the user says, one after the other."""
    tools: tuple[str, ...]
    wants: tuple[Call, ...] = ()
    """Calls that must be made, in this order; others may come between. Where it is vague: none, but looking may be
    done."""
    reply: str = ""
    """What the last answer must hold."""
    looks: tuple[str, ...] = ()
    """Where it is vague: tools that only look."""


def _one(
    name: str, kind: Kind, *says: str, tools: str, reply: str = "", looks: str = "", **kept: Any
) -> Scenario:
    return Scenario(
        name=name,
        kind=kind,
        says=says,
        tools=tuple(tools.split()),
        reply=reply,
        looks=tuple(looks.split()),
        wants=tuple(kept.get("wants", ())),
    )


SCENARIOS: tuple[Scenario, ...] = (
    _one(
        "renew by title",
        "chain",
        "Please renew my loan of Moby Dick.",
        tools="find_loan renew_loan shelf_of",
        wants=[("find_loan", {"title": "Moby Dick"}), ("renew_loan", {"loan_id": "L-204"})],
        reply="2026-04-06",
    ),
    _one(
        "renew by another title",
        "chain",
        "I still read Emma. Can you find the loan and renew it?",
        tools="renew_loan find_loan",
        wants=[("find_loan", {"title": "Emma"}), ("renew_loan", {"loan_id": "L-377"})],
        reply="2026-03-30",
    ),
    _one(
        "postage of a parcel",
        "chain",
        "What does it cost to send parcel P-81 to Norway (NO)?",
        tools="weigh_parcel postage_for",
        wants=[("weigh_parcel", {"parcel": "P-81"}), ("postage_for", {"grams": 740, "country": "NO"})],
        reply="9.00",
    ),
    _one(
        "postage of a heavy parcel",
        "chain",
        "Weigh P-82, then tell me the postage to Chile, CL.",
        tools="postage_for weigh_parcel next_train",
        wants=[("weigh_parcel", {"parcel": "P-82"}), ("postage_for", {"grams": 2150, "country": "CL"})],
        reply="22.50",
    ),
    _one(
        "a berth for a boat",
        "chain",
        "Look whether berth 4 is free, and if it is, book it for the Marta.",
        tools="berth_status book_berth high_water",
        wants=[("berth_status", {"berth": 4}), ("book_berth", {"berth": 4, "boat": "Marta"})],
        reply="H-417",
    ),
    _one(
        "where the train goes",
        "chain",
        "Where does the next train from Lindau go, and what is a ticket to there?",
        tools="next_train ticket_price",
        wants=[("next_train", {"station": "Lindau"}), ("ticket_price", {"start": "Lindau", "goal": "Ulm"})],
        reply="23.40",
    ),
    _one(
        "where the other train goes",
        "chain",
        "I am in Ulm. Find out where the next train goes and the price of getting there.",
        tools="ticket_price next_train",
        wants=[("next_train", {"station": "Ulm"}), ("ticket_price", {"start": "Ulm", "goal": "Aalen"})],
        reply="14.10",
    ),
    _one(
        "dry bed",
        "chain",
        "Measure the soil of the herbs. If it is below 30, give them 5 litres.",
        tools="soil_moisture water_bed",
        wants=[("soil_moisture", {"bed": "herbs"}), ("water_bed", {"bed": "herbs", "litres": 5})],
        reply="5",
    ),
    _one(
        "flour runs out",
        "chain",
        "Check the spelt flour. If less than 10 kg are left, order 50 kg.",
        tools="flour_left order_flour",
        wants=[("flour_left", {"kind": "spelt"}), ("order_flour", {"kind": "spelt", "kilograms": 50})],
        reply="Thursday",
    ),
    _one(
        "taken berth",
        "failure",
        "Book berth 3 for the Marta; if it is taken, take the free one that you are told.",
        tools="book_berth berth_status",
        wants=[("book_berth", {"berth": 3, "boat": "Marta"}), ("book_berth", {"berth": 4, "boat": "Marta"})],
        reply="H-417",
    ),
    _one(
        "whole sacks",
        "failure",
        "Order 60 kilograms of rye flour, or the next larger amount that can be had.",
        tools="order_flour flour_left",
        wants=[
            ("order_flour", {"kind": "rye", "kilograms": 60}),
            ("order_flour", {"kind": "rye", "kilograms": 75}),
        ],
        reply="B-75",
    ),
    _one(
        "too warm",
        "failure",
        "Heat the vault to 25 degrees, or as warm as is allowed.",
        tools="set_heating room_climate",
        wants=[
            ("set_heating", {"room": "vault", "celsius": 25}),
            ("set_heating", {"room": "vault", "celsius": 22}),
        ],
        reply="22",
    ),
    _one(
        "too much water",
        "failure",
        "Give the ferns 30 litres. If that is too much at a time, give what is possible.",
        tools="water_bed soil_moisture",
        wants=[
            ("water_bed", {"bed": "ferns", "litres": 30}),
            ("water_bed", {"bed": "ferns", "litres": 20}),
        ],
        reply="20",
    ),
    _one(
        "two letters",
        "failure",
        "What does a letter of 300 grams to Norway cost?",
        tools="postage_for weigh_parcel",
        wants=[("postage_for", {"grams": 300, "country": "NO"})],
        reply="4.50",
    ),
    _one(
        "a day written otherwise",
        "failure",
        "Which phase has the moon on 3 March 2026?",
        tools="moon_phase star_rise",
        wants=[("moon_phase", {"day": "2026-03-03"})],
        reply="full",
    ),
    _one(
        "a title that is not there",
        "failure",
        "On which shelf is Dune Messiah? If it is not there, look for Dune.",
        tools="shelf_of find_loan",
        wants=[("shelf_of", {"title": "Dune Messiah"}), ("shelf_of", {"title": "Dune"})],
        reply="K12",
    ),
    _one(
        "two boats",
        "again",
        "How long is the Marta?",
        "And the Wega?",
        tools="find_boat berth_status",
        wants=[("find_boat", {"name": "Marta"}), ("find_boat", {"name": "Wega"})],
        reply="9",
    ),
    _one(
        "two harbours",
        "again",
        "When is high water in Cuxhaven?",
        "Thanks. What about Emden?",
        tools="high_water find_boat",
        wants=[("high_water", {"harbour": "Cuxhaven"}), ("high_water", {"harbour": "Emden"})],
        reply="11:20",
    ),
    _one(
        "read, then set",
        "again",
        "How warm is the blue hall?",
        "Set it to 19 degrees.",
        tools="room_climate set_heating",
        wants=[
            ("room_climate", {"room": "blue hall"}),
            ("set_heating", {"room": "blue hall", "celsius": 19}),
        ],
        reply="19",
    ),
    _one(
        "two stars",
        "again",
        "When does Vega rise tonight?",
        "And Sirius?",
        tools="star_rise moon_phase",
        wants=[("star_rise", {"star": "Vega"}), ("star_rise", {"star": "Sirius"})],
        reply="18:05",
    ),
    _one(
        "the humidity",
        "choice",
        "How humid is it in the vault?",
        tools="soil_moisture room_climate high_water set_heating",
        wants=[("room_climate", {"room": "vault"})],
        reply="61",
    ),
    _one(
        "the cacti",
        "choice",
        "How moist is the soil of the cacti?",
        tools="room_climate flour_left soil_moisture water_bed",
        wants=[("soil_moisture", {"bed": "cacti"})],
        reply="7",
    ),
    _one(
        "the rye",
        "choice",
        "How much rye flour have we left?",
        tools="order_flour weigh_parcel flour_left shelf_of",
        wants=[("flour_left", {"kind": "rye"})],
        reply="18",
    ),
    _one("a sum", "no tool", "What is 2 plus 3?", tools="flour_left high_water", reply="5"),
    _one(
        "a capital",
        "no tool",
        "What is the capital of France?",
        tools="next_train ticket_price",
        reply="Paris",
    ),
    _one("thanks", "no tool", "Thank you, that is all for today.", tools="find_loan renew_loan"),
    _one(
        "renew what",
        "vague",
        "Please renew my loan.",
        tools="find_loan renew_loan",
        looks="find_loan",
    ),
    _one("water what", "vague", "Water the bed.", tools="soil_moisture water_bed", looks="soil_moisture"),
    _one(
        "book something",
        "vague",
        "Book a berth for me.",
        tools="berth_status book_berth",
        looks="berth_status",
    ),
    _one("order flour", "vague", "We need more flour.", tools="flour_left order_flour", looks="flour_left"),
)


def solved(
    scenario: Scenario, calls: Sequence[Call], messages: Sequence[dict[str, Any]], stopped: str | None
) -> tuple[bool, str]:
    """Whether the conversation came to what it should, and why not."""
    if stopped:
        return False, stopped
    last = str(messages[-1].get("content") or "")
    if not last.strip():
        return False, "no answer at the end"
    if scenario.kind == "no tool" and calls:
        return False, f"called {calls[0][0]}, where no tool helps"
    if scenario.kind == "vague":
        return _careful(scenario, calls, messages, last)
    place = 0
    for call in calls:
        if place < len(scenario.wants) and _same(call, scenario.wants[place]):
            place += 1
    if place < len(scenario.wants):
        name, arguments = scenario.wants[place]
        return False, f"without the call {name}({json.dumps(arguments, ensure_ascii=False)})"
    if scenario.reply.lower() not in last.lower():
        return False, f"the answer lacks {scenario.reply}"
    return True, ""


def _careful(
    scenario: Scenario, calls: Sequence[Call], messages: Sequence[dict[str, Any]], last: str
) -> tuple[bool, str]:
    made_up = invented(calls, messages)
    if made_up:
        return False, f"made up: {made_up[0]}"
    acted = [name for name, _ in calls if name not in scenario.looks]
    if acted:
        return False, f"acted without being told on what: {acted[0]}"
    if not calls and "?" not in last:
        return False, "neither asked nor looked"
    return True, ""


def invented(calls: Sequence[Call], messages: Sequence[dict[str, Any]]) -> list[str]:
    """Values of arguments that neither the user nor a tool named."""
    named = " ".join(str(m.get("content") or "") for m in messages if m["role"] in ("user", "tool")).lower()
    values = [str(value).strip().lower() for _, given in calls for value in given.values()]
    return [value for value in values if not re.search(rf"(?<!\w){re.escape(value)}(?!\w)", named)]


def _same(call: Call, wanted: Call) -> bool:
    return call[0] == wanted[0] and {k: _plain(v) for k, v in call[1].items()} == {
        k: _plain(v) for k, v in wanted[1].items()
    }


def _plain(value: Any) -> Any:
    """Texts but for case and spaces, numbers however they are written."""
    if isinstance(value, str):
        return value.strip().lower().removeprefix("the ")
    return float(value) if isinstance(value, int | float) else value
