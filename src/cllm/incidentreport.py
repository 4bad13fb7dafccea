"""An incident as one page to read: HTML that needs no other file and no network; all that it quotes is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from cllm.growthchart import chart
from cllm.markup import document, pairs, rows

STYLE = "mark { background: #f6c9c4; color: #222; } .broken { color: #c2271a; } svg { background: white; }"


def page(incident: Mapping[str, Any], cause: str, differs_in: Sequence[str]) -> str:
    """The whole page; cause and differs_in are those of a replay."""
    first, growth = incident["first"], incident["growth"]
    title = f"{incident['run']}: update {incident['step']}, batch {incident['batch_index']}"
    parts = [
        f"<h1>{escape(title)}</h1>", f'<p class="broken">{escape(incident["summary"])}</p>',
        pairs(_verdict(incident, cause, differs_in)),
        *(_first(first) if first is not None else []),
        f"<h2>How magnitudes grew</h2><p>In shard {int(growth['shard'])}, of all that each op has written. Red, at the "
        f"top: not finite. Point at a mark to see what it is.</p>{chart(growth['written'])}",
        "<h2>Shards</h2>", rows(("shard", "sequences", "loss", "largest magnitude", "not finite"), _shards(incident)),
        "<h2>Versions</h2>", pairs(incident["versions"].items()),
        f"<h2>Config</h2><pre>{escape(json.dumps(incident['config'], indent=1))}</pre>",
    ]
    return document(title, "".join(parts), STYLE)


def _verdict(incident: Mapping[str, Any], cause: str, differs_in: Sequence[str]) -> list[tuple[str, str]]:
    seen, decision = incident["seen"], incident["decision"]
    return [
        ("decision", f"{decision['kind']}: {'; '.join(decision['reasons'])}"),
        ("loss", f"{seen['mean_loss']}"), ("gradient norm", f"{seen['gradient_norm']}"),
        ("cause, by the run itself", incident["again"]["cause"]),
        ("cause, by this replay", cause + (f" ({', '.join(differs_in)})" if differs_in else "")),
    ]


def _first(first: Mapping[str, Any]) -> list[str]:
    place = first["place"]
    told = [
        ("op", f"{first['op']} ({first['kind']}), {first['direction']}"),
        ("gradient of" if first["is_parameter"] else "tensor", f"{first['tensor']}{first['index']} = {first['value']}"),
        ("shard", f"{first['shard']}, on threads {first['threads']}"),
        ("sample", f"{place['sample']}: sequence {place['sequence']} of the batch"),
        ("token", f"{place['position']} of the sequence, id {place['token']}"),
        ("document", f"{place['document']} of {place['file']}, its token {place['offset']}"),
    ]
    text = ""
    if place["text"] is not None:
        before, here, after = (escape(place[key] or "") for key in ("before", "text", "after"))
        text = f"<h2>The text</h2><pre>{before}<mark>{here}</mark>{after}</pre>"
    most = "<p>A parameter's gradient is a sum over tokens; this is the one with the largest incoming gradient.</p>"
    operands = rows(("what the op had read", "", "everywhere", "at this token", "the largest there"), _operands(first))
    return ["<h2>Where it arose</h2>", most if first["is_parameter"] else "", pairs(told), text, operands]


def _operands(first: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for one in first["operands"]:
        values = ", ".join(f"[{channel}] {_number(value)}" for channel, value in one["values"])
        yield one["role"], one["tensor"], _range(one["range"]), _range(one["row"]) if one["row"] else "", values


def _range(one: Mapping[str, Any]) -> str:
    broken = f", {one['n_nonfinite']} not finite" if one["n_nonfinite"] else ""
    return f"{one['smallest']:.4g} to {one['largest']:.4g}{broken}"


def _number(value: float | str) -> str:
    """What is not finite is a text in a receipt."""
    return value if isinstance(value, str) else f"{value:.4g}"


def _shards(incident: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for one in incident["shards"]:
        first, last = one["sequences"]
        sequences, magnitude = f"{first} to {last - 1}", f"{one['magnitude']:.4g}"
        yield str(one["shard"]), sequences, _number(one["loss"]), magnitude, str(one["n_nonfinite"])
