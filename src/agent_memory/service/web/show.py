"""Stored text on its way into a page: what a terminal or a bidirectional layout would obey becomes visible or goes.

Escaping is the templates' (autoescape); this stands before it, for every value that a template writes.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

# CSI, OSC (with its end) and the other escape sequences of terminals.
_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[@-Z\\-_])"
)
# What turns the reading direction or hides: C0 without tab and newline, C1, bidi controls, zero-width characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)


def clean(text: str) -> str:
    """`text` without terminal sequences; what cannot be seen is written as `⟨U+202E⟩`."""
    # Nearly always; a page has hundreds of thousands of characters, and looking for each of _UNSEEN's takes long.
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    text = _ANSI.sub("", text.replace("\r\n", "\n")).replace("\r", "\n")
    return _UNSEEN.sub(lambda met: f"⟨U+{ord(met[0]):04X}⟩", text)


def finalize(value: Any) -> Any:
    """What a template writes for a value: see jinja2's `finalize`."""
    if value is None:
        return ""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def when(at: datetime | None, *, form: str = "day") -> Markup:
    """A time of this machine's zone as an element: `day` 25 Nov 14:03, `clock` 14:03:07, `date` 25 Nov 2026; `lately`:
    today its clock, else its day."""
    if at is None:
        return Markup("")
    here = at.astimezone()
    if form == "lately":
        form = "clock" if here.date() == datetime.now(here.tzinfo).date() else "day"
    match form:
        case "clock":
            shown = f"{here:%H:%M:%S}"
        case "day" if here.year == datetime.now(here.tzinfo).year:
            shown = f"{here:%-d %b %H:%M}"
        case _:
            shown = f"{here:%-d %b %Y}"
    # A page has hundreds of times, and Markup.format takes as long for one as all of this.
    whole = escape(f"{here:%Y-%m-%d %H:%M:%S %Z}")
    return Markup(f'<time datetime="{at.isoformat()}" title="{whole}">{shown}</time>')


def span(seconds: float | None) -> str:
    """A span of time, short: `3 h`, `240 ms`."""
    if seconds is None:
        return ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def count(number: int, one: str, more: str | None = None) -> str:
    """`1 call`, `1,200 calls`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def within(path: str, root: str | None) -> str:
    """A path as seen from a folder that it is in."""
    return path[len(root.rstrip("/")) + 1 :] if root and path.startswith(root.rstrip("/") + "/") else path


def size(bytes_: int) -> str:
    """`1.2 MB`."""
    number = float(bytes_)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def typed(text: str) -> str:
    """What was typed into a field of several lines: a browser sends each line's end as two characters."""
    return text.replace("\r\n", "\n")
