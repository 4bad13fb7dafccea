"""The picture of a comparison: the mean validation loss of each arm over the steps, and where its seeds lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import mean

from cllm.markup import COLOURS
from cllm.reporting.scale import Scale, scale, steps_scale

Found = Mapping[str, Mapping[str, Sequence[float]]]  # arm -> seed -> validation losses

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 50, 20, 14, 42
LINE = 16  # of the legend


def chart(found: Found, every: int) -> str:
    """An SVG of its own. The band of an arm reaches from its lowest seed to its highest."""
    n = len(next(iter(next(iter(found.values())).values())))
    across = steps_scale(n * every, LEFT, WIDTH - RIGHT)
    losses = (loss for curves in found.values() for curve in curves.values() for loss in curve)
    up = scale(losses, HEIGHT - BOTTOM, TOP)
    parts = [_axes(across, up)]
    for number, (name, curves) in enumerate(found.items()):
        parts.append(_arm(number, name, [column for column in zip(*curves.values(), strict=True)], every, across, up))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="validation loss over steps">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _axes(across: Scale, up: Scale) -> str:
    level = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up.place(y):.1f}" y2="{up.place(y):.1f}" stroke="#e4e4e4"/>'
        f'<text x="{LEFT - 6}" y="{up.place(y) + 4:.1f}" text-anchor="end">{label}</text>'
        for y, label in up.labels()
    )
    steps = "".join(
        f'<text x="{across.place(x):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{label}</text>'
        for x, label in across.labels()
    )
    told = "step; validation loss in nats per token"
    return f'{level}{steps}<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle" fill="#6a6a6a">{told}</text>'


def _arm(
    number: int, name: str, columns: Sequence[Sequence[float]], every: int, across: Scale, up: Scale
) -> str:
    """columns: at each evaluation, the losses of all seeds."""
    colour = COLOURS[number % len(COLOURS)]
    dashes = ' stroke-dasharray="3 6"' if number >= len(COLOURS) else ""
    steps = [every * (point + 1) for point in range(len(columns))]
    highest, lowest, middle = (
        [f"{across.place(x):.1f},{up.place(of(column)):.1f}" for x, column in zip(steps, columns, strict=True)]
        for of in (max, min, mean)
    )
    band = f'<polygon points="{" ".join([*highest, *reversed(lowest)])}" fill="{colour}" opacity="0.12"/>'
    line = f'<polyline points="{" ".join(middle)}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    x, y = WIDTH - 230, TOP + 20 + LINE * number
    key = f'<line x1="{x}" x2="{x + 28}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="2"{dashes}/>'
    return f'{band}{line}{key}<text x="{x + 36}" y="{y}">{escape(name)}</text>'
