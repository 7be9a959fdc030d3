"""A run's report as a page: one file, no script, nothing from elsewhere; every text is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from agent_memory.finetune import compared, curve

_STYLE = resources.files("agent_memory.finetune") / "page.css"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(told: Mapping[str, Any]) -> str:
    """The page of what `report.gather` gives."""
    parts = [
        _head(told),
        _gates(told["steps"]),
        _rates(told["steps"]),
        _losses(told["metrics"]),
        _scenarios(told["scenarios"]),
        _answers(told["answers"]),
        _data_set(told["data_set"]),
        _costs(told["steps"]),
        _config(told["config"]),
        _files(told["files"]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(told['name'])}</title><style>{style()}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + f'\n<p class="dim">{escape(told["made_by"])}, {escape(told["made_at"])}</p></body></html>\n'
    )


def style() -> str:
    return _STYLE.read_text(encoding="utf-8")


def _head(told: Mapping[str, Any]) -> str:
    config = told["config"]
    parts = [
        f"<h1>{escape(told['name'])}</h1>",
        f"<p>{escape(told['standing'])}. Begun {escape(told['created'])}, on"
        f" <code>{escape(config['base']['model'])}</code>.</p>",
    ]
    if told["retracted"]:
        at, because = told["retracted"]["at"], told["retracted"]["because"]
        parts.append(
            f'<div class="banner"><b class="bad">Retracted</b> on {escape(at)}: {escape(because)}</div>'
        )
    if told["stale"]:
        parts.append(_stale(told))
    if told["texts"]:
        parts.append(
            '<p class="dim">This page shows what models answered, and so parts of what was recorded. Look before you'
            " pass it on.</p>"
        )
    return "".join(parts)


def _stale(told: Mapping[str, Any]) -> str:
    rows = [
        (
            str(one["tombstone"]),
            one["forgotten_at"] or "lifted",
            ", ".join(one["rows"]) or "its files are gone",
        )
        for one in told["stale"]
    ]
    left = "".join(f"<li><code>{escape(place)}</code></li>" for place in told["left"])
    return (
        '<div class="banner"><b class="bad">Stale.</b> Something that this model learned from was forgotten since.'
        f" It may know it still, and these may hold it:<ul>{left}</ul>"
        f'<code>agent-memory finetune retract {escape(told["name"])} --because "forgotten" --delete-files</code>'
        + _table(("tombstone", "forgotten", "rows of the data set that may hold it"), rows)
        + "</div>"
    )


def _gates(steps: Sequence[Mapping[str, Any]]) -> str:
    parts = ["<h2>Gates</h2>"]
    for step in steps:
        state = step["state"]
        kind = "good" if state == "passed" else "bad"
        parts.append(f'<h3>{escape(step["title"])} <span class="{kind}">{escape(state)}</span></h3>')
        if step["error"]:
            parts.append(f'<p class="bad">{escape(step["error"])}</p><p>{escape(step["remedy"] or "")}</p>')
        rows = []
        for gate in step["gates"]:
            mark = (
                '<span class="bad">✗ failed</span>'
                if not gate["passed"]
                else '<span class="warn">! let through</span>'
                if gate["warning"]
                else '<span class="good">✓</span>'
            )
            found = escape(str(gate["found"]))
            if gate["warning"]:
                found += f'<br><span class="warn">{escape(gate["warning"])}</span>'
            if not gate["passed"] and gate.get("remedy"):
                found += f"<br>{escape(gate['remedy'])}"
            if gate["rows"]:
                shown = ", ".join(gate["rows"][:10]) + " …" * (len(gate["rows"]) > 10)
                found += f'<br><code class="dim">{escape(shown)}</code>'
            rows.append((mark, escape(gate["name"]), escape(str(gate["wants"])), found))
        if rows:
            parts.append(_raw_table(("", "gate", "wanted", "found"), rows, kind="gates"))
    return "".join(parts) if len(parts) > 1 else ""


def _rates(steps: Sequence[Mapping[str, Any]]) -> str:
    """What was measured, each with its interval of 95 %."""
    rows = []
    for step in steps:
        for name, rate in compared.rates(step["numbers"]):
            low, high, value = rate["low"], rate["high"], rate["rate"]
            if not rate.get("of"):
                rows.append((escape(step["title"]), escape(name), "not measured", ""))
                continue
            bar = (
                f'<span class="bar"><i style="left:{low:.1%};width:{high - low:.1%}"></i>'
                f'<b style="left:{min(value, 0.98):.1%}"></b></span>'
            )
            told = f"{value:.1%} ({low:.0%} to {high:.0%}), N = {rate['of']:,}"
            rows.append((escape(step["title"]), escape(name), told, bar))
    if not rows:
        return ""
    return "<h2>Measured</h2>" + _raw_table(("step", "of", "rate and its interval of 95 %", ""), rows)


def _losses(metrics: Sequence[Mapping[str, Any]]) -> str:
    drawn = curve.draw(metrics)
    return f"<h2>Loss</h2>{drawn}" if drawn else ""


def _scenarios(beside: Sequence[Mapping[str, Any]]) -> str:
    if not beside:
        return ""
    parts = ["<h2>The same conversations, base beside tuned</h2>"]
    parts += [_pair(one, opened=number < 2) for number, one in enumerate(beside)]
    return "".join(parts)


def _answers(beside: Sequence[Mapping[str, Any]]) -> str:
    if not beside:
        return ""
    parts = ["<h2>Held-out questions</h2>"]
    return "".join([*parts, *(_pair(one, opened=False) for one in beside)])


def _pair(one: Mapping[str, Any], *, opened: bool) -> str:
    sides = "".join(
        f'<div><p class="who">{who}</p>{_conversation(one[who]) if one[who] else "<p>not asked</p>"}</div>'
        for who in ("base", "tuned")
    )
    return (
        f"<details{' open' * opened}><summary>{escape(one['id'])}</summary>"
        f'<div class="pair">{sides}</div></details>'
    )


def _conversation(told: Mapping[str, Any]) -> str:
    """Messages word by word, and whatever else stands beside them."""
    messages = told.get("messages")
    rest = {name: value for name, value in told.items() if name not in ("id", "messages", "tools")}
    parts = [_message(message) for message in messages] if isinstance(messages, list) else []
    if rest:
        parts.append(f"<pre>{escape(_json(rest))}</pre>")
    return "".join(parts)


def _message(message: Any) -> str:
    if not isinstance(message, Mapping):
        return f"<pre>{escape(_json(message))}</pre>"
    who = str(message.get("role", ""))
    parts = [f'<span class="who">{escape(who)}</span>']
    if message.get("content"):
        content = message["content"]
        parts.append(f"<pre>{escape(content if isinstance(content, str) else _json(content))}</pre>")
    for call in message.get("tool_calls") or ():
        function = call.get("function", call) if isinstance(call, Mapping) else {"name": str(call)}
        given = function.get("arguments", "")
        told = given if isinstance(given, str) else _json(given)
        parts.append(f"<pre><b>{escape(str(function.get('name', '')))}</b> {escape(told)}</pre>")
    return f'<div class="said {"assistant" if who == "assistant" else ""}">{"".join(parts)}</div>'


def _data_set(manifest: Mapping[str, Any] | None) -> str:
    if not manifest:
        return ""
    told = {
        name: manifest[name]
        for name in (
            *(
                "made_by",
                "made_at",
                "rows",
                "counts",
                "split_by",
                "tokenizer",
                "wanted",
                "source",
                "tombstones",
            ),
            *("dropped", "histograms", "warnings", "files"),
        )
        if name in manifest
    }
    rows = [
        (name, _json(value) if isinstance(value, dict | list) else str(value)) for name, value in told.items()
    ]
    return "<h2>Data set</h2>" + _raw_table(
        ("", ""), [(escape(name), f"<pre>{escape(value)}</pre>") for name, value in rows]
    )


def _costs(steps: Sequence[Mapping[str, Any]]) -> str:
    if not steps:
        return ""
    rows = [
        (step["title"], step["began"], f"{step['seconds']:,.0f} s", f"{step['peak_mb']:,.0f} MB")
        for step in steps
    ]
    total = sum(step["seconds"] for step in steps)
    most = max(step["peak_mb"] for step in steps)
    rows.append(("all of it", "", f"{total:,.0f} s", f"{most:,.0f} MB at most"))
    return "<h2>What it cost</h2>" + _table(("step", "began", "time", "memory"), rows)


def _config(config: Mapping[str, Any]) -> str:
    rows = [
        (f"{part}.{name}" if name else part, str(value))
        for part, told in config.items()
        for name, value in (told.items() if isinstance(told, dict) else [("", told)])
    ]
    return "<h2>Configuration</h2>" + _table(("line", "value"), rows)


def _files(files: Mapping[str, Mapping[str, Any]]) -> str:
    if not files:
        return ""
    rows = [
        (f"<code>{escape(name)}</code>", f"{one['bytes']:,}", f"<code>{escape(one['sha256'])}</code>")
        for name, one in files.items()
    ]
    return "<h2>Files</h2>" + _raw_table(("file", "bytes", "SHA-256"), rows)


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    return _raw_table(heads, [[escape(cell) for cell in row] for row in rows])


def _raw_table(heads: Iterable[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
