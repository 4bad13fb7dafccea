"""The picture of an incident: the largest magnitude that each op has written, forward and then backward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 960, 380, 56
LEAST, MOST = -12, 39  # powers of ten: below and above lies nothing that float32 counts with
FINITE, BROKEN = "#1b6ca8", "#c2271a"

Row = Mapping[str, Any]  # of a receipt's growth


def chart(rows: Sequence[Row]) -> str:
    """An SVG element. What is not finite stands at the top, in red."""
    low, high = _powers(rows)
    parts = [_scale(low, high), _layers(rows), _directions(rows), _line(rows, low, high)]
    parts += [_point(rows, number, low, high) for number in range(len(rows))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="largest magnitude of what each op has written">{"".join(parts)}</svg>'
    )


def _powers(rows: Sequence[Row]) -> tuple[int, int]:
    """The powers of ten at the bottom and at the top."""
    powers = [math.floor(_power(row)) for row in rows if row["magnitude"] > 0.0] or [0]
    low = max(LEAST, min(powers))
    return low, max(low + 1, min(MOST, max(powers) + 1))


def _power(row: Row) -> float:
    return math.log10(row["magnitude"])


def _x(number: float, n: int) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * ((number + 0.5) / n)


def _y(power: float, low: int, high: int) -> float:
    inside = min(max(power, low), high)
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * ((inside - low) / (high - low))


def _height(row: Row, low: int, high: int) -> float:
    if row["n_nonfinite"]:
        return MARGIN - 14.0
    return _y(_power(row) if row["magnitude"] > 0.0 else low, low, high)


def _scale(low: int, high: int) -> str:
    every = max(1, (high - low) // 8)
    return "".join(
        f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>'
        f'<text x="{MARGIN - 8}" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>'
        for power, y in ((power, _y(power, low, high)) for power in range(low, high + 1, every))
    )


def _layers(rows: Sequence[Row]) -> str:
    """Where a layer begins, its number."""
    starts = [
        number for number, row in enumerate(rows)
        if row["layer"] is not None and (number == 0 or _layer(rows[number - 1]) != _layer(row))
    ]
    return "".join(
        f'<text x="{_x(number, len(rows)):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle" fill="#777">'
        f'{int(rows[number]["layer"])}</text>'
        for number in starts
    )


def _layer(row: Row) -> tuple[Any, Any]:
    return row["layer"], row["direction"]


def _directions(rows: Sequence[Row]) -> str:
    turn = next((number for number, row in enumerate(rows) if row["direction"] == "backward"), len(rows))
    x = _x(turn - 0.5, len(rows))
    labels = "".join(
        f'<text x="{at:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{word}, layer by layer</text>'
        for word, at in (("forward", (MARGIN + x) / 2), ("backward", (x + WIDTH - MARGIN) / 2))
    )
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{MARGIN - 20}" y2="{HEIGHT - MARGIN}" stroke="#999"/>{labels}'


def _line(rows: Sequence[Row], low: int, high: int) -> str:
    points = " ".join(f"{_x(n, len(rows)):.1f},{_height(row, low, high):.1f}" for n, row in enumerate(rows))
    return f'<polyline points="{points}" fill="none" stroke="#b9cfe0"/>'


def _point(rows: Sequence[Row], number: int, low: int, high: int) -> str:
    row = rows[number]
    broken = row["n_nonfinite"] > 0
    told = f"{row['n_nonfinite']:,} of {row['size']:,} not finite" if broken else f"up to {row['magnitude']:.3g}"
    title = escape(f"{row['op']} {row['direction']}: {row['tensor']}, {told}")
    return (
        f'<circle cx="{_x(number, len(rows)):.1f}" cy="{_height(row, low, high):.1f}" r="{4 if broken else 3}" '
        f'fill="{BROKEN if broken else FINITE}"><title>{title}</title></circle>'
    )
