"""Tools that no coding agent has, for conversations that no training row shows: a harbour, a library, a greenhouse, …

Each is a function without side effects, so that a conversation runs the same each time. Its signature is its schema and
its docstring its description.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from agent_memory.finetune import gates

_TYPES = {"str": "string", "int": "integer", "float": "number"}


class NoSuchThingError(Exception):
    """What a tool says instead of a result."""


def tool(name: str) -> dict[str, Any]:
    """As a model is offered it."""
    function = TOOLS[name]
    arguments = inspect.signature(function).parameters.values()
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": inspect.getdoc(function),
            "parameters": {
                "type": "object",
                "properties": {one.name: {"type": _TYPES[str(one.annotation)]} for one in arguments},
                "required": [one.name for one in arguments],
            },
        },
    }


def call(name: str, arguments: dict[str, Any]) -> str:
    """What the tool gives, or an error that says what is wrong."""
    if name not in TOOLS:
        return f"Error: there is no tool {name}"
    wrong = next(gates.validator(tool(name)["function"]["parameters"]).iter_errors(arguments), None)
    if wrong is not None:
        return f"Error: {wrong.message}"
    try:
        return TOOLS[name](**arguments)
    except NoSuchThingError as error:
        return f"Error: {error}"


def _look(table: dict[Any, Any], key: Any, otherwise: str) -> str:
    found = table.get(key.strip().lower() if isinstance(key, str) else key)
    if found is None:
        raise NoSuchThingError(otherwise)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def berth_status(berth: int) -> str:
    """Tell whether a berth of the harbour is free."""
    return _look(
        {3: {"free": False, "boat": "Wega"}, 4: {"free": True, "metres": 14}, 9: {"free": True, "metres": 8}},
        berth,
        "berths are numbered 3, 4 and 9",
    )


def book_berth(berth: int, boat: str) -> str:
    """Reserve a free berth for a boat."""
    if berth == 3:
        raise NoSuchThingError("berth 3 is taken by the Wega; berth 4 is free")
    return f"berth {berth} is reserved for {boat}, slip number H-{berth}17"


def find_boat(name: str) -> str:
    """Find a boat in the harbour's register by its name."""
    return _look(
        {
            "marta": {"name": "Marta", "metres": 12, "owner": "O. Lind"},
            "wega": {"name": "Wega", "metres": 9, "owner": "P. Roth"},
        },
        name,
        "the register knows Marta and Wega",
    )


def high_water(harbour: str) -> str:
    """Tell when the next high water is at a harbour."""
    return _look(
        {"cuxhaven": "high water at 14:52", "emden": "high water at 11:20"},
        harbour,
        "the table has Cuxhaven and Emden",
    )


def find_loan(title: str) -> str:
    """Find the loan of a book by its title."""
    return _look(
        {
            "moby dick": {"loan_id": "L-204", "due": "2026-03-09"},
            "emma": {"loan_id": "L-377", "due": "2026-03-02"},
        },
        title,
        "no such title is lent",
    )


def renew_loan(loan_id: str) -> str:
    """Renew a loan of the library by its id, such as L-100."""
    return _look(
        {"l-204": "renewed until 2026-04-06", "l-377": "renewed until 2026-03-30"},
        loan_id,
        "loan ids look like L-100",
    )


def shelf_of(title: str) -> str:
    """Tell on which shelf a book stands."""
    return _look(
        {"dune": "shelf K12", "emma": "shelf A03"},
        title,
        "not by that title; the catalogue has Dune and Emma",
    )


def room_climate(room: str) -> str:
    """Read temperature and humidity of a room of the museum."""
    return _look(
        {
            "blue hall": {"celsius": 17.5, "humidity": 48},
            "vault": {"celsius": 21.0, "humidity": 61},
        },
        room,
        "the rooms are: blue hall, vault",
    )


def set_heating(room: str, celsius: float) -> str:
    """Set the heating of a room of the museum."""
    if celsius > 22:
        raise NoSuchThingError("the paintings bear 22 degrees at most")
    return f"{room} will be at {celsius:g} degrees in 40 minutes"


def soil_moisture(bed: str) -> str:
    """Measure how moist the soil of a bed in the greenhouse is, in per cent."""
    return _look({"ferns": "64", "cacti": "7", "herbs": "22"}, bed, "the beds are: ferns, cacti, herbs")


def water_bed(bed: str, litres: float) -> str:
    """Water a bed in the greenhouse."""
    if litres > 20:
        raise NoSuchThingError("the tank gives 20 litres at a time at most")
    return f"{litres:g} litres given to {bed}"


def weigh_parcel(parcel: str) -> str:
    """Weigh a parcel that lies at the counter."""
    return _look({"p-81": {"grams": 740}, "p-82": {"grams": 2150}}, parcel, "parcels here: P-81, P-82")


def postage_for(grams: int, country: str) -> str:
    """Tell what it costs to send so many grams to a country, by its two letters."""
    if len(country.strip()) != 2:
        raise NoSuchThingError("a country is two letters, such as NO for Norway")
    return f"{(grams // 500 + 1) * 4.5:.2f} euros"


def next_train(station: str) -> str:
    """Tell when the next train leaves a station, and where to."""
    return _look(
        {
            "lindau": {"at": "09:14", "to": "Ulm", "track": 3},
            "ulm": {"at": "10:32", "to": "Aalen", "track": 5},
        },
        station,
        "departures are known for Lindau and Ulm",
    )


def ticket_price(start: str, goal: str) -> str:
    """Tell the price of a ticket between two stations."""
    return _look(
        {("lindau", "ulm"): "23.40 euros", ("ulm", "aalen"): "14.10 euros"},
        (start.strip().lower(), goal.strip().lower()),
        "no such connection",
    )


def flour_left(kind: str) -> str:
    """Tell how many kilograms of a kind of flour the bakery has."""
    return _look({"rye": "18", "spelt": "3", "wheat": "55"}, kind, "kinds are rye, spelt and wheat")


def order_flour(kind: str, kilograms: int) -> str:
    """Order flour for the bakery, in sacks of 25 kilograms."""
    if kilograms % 25:
        raise NoSuchThingError("flour comes in sacks: order 25, 50, 75, … kilograms")
    return f"{kilograms} kg of {kind} come on Thursday, order B-{kilograms}"


def moon_phase(day: str) -> str:
    """Tell the phase of the moon on a day, written as 2026-03-01."""
    if len(day) != 10 or day[4] != "-":
        raise NoSuchThingError("write the day as 2026-03-01")
    return _look({"2026-03-03": "full moon", "2026-03-19": "new moon"}, day, "half moon")


def star_rise(star: str) -> str:
    """Tell when a star rises tonight."""
    return _look({"vega": "rises at 21:47", "sirius": "rises at 18:05"}, star, "no such star in the list")


TOOLS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        *(berth_status, book_berth, find_boat, high_water, find_loan, renew_loan, shelf_of, room_climate),
        *(set_heating, soil_moisture, water_bed, weigh_parcel, postage_for, next_train, ticket_price),
        *(flour_left, order_flour, moon_phase, star_rise),
    )
}
