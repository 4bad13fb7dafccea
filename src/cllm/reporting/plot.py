"""A picture of curves over the steps of runs, as SVG whose colours the page gives; what was decided stands above it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from cllm.errors import count
from cllm.reporting.scale import Scale, scale, steps_scale
from cllm.reporting.thinning import Point

WIDTH, HEIGHT = 460, 230  # some two thirds of this on a phone, where letters of 14 must still be readable
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 10, 40
LANE = 16  # the height of a row of marks above the curves
MARK = 12  # marks of a kind that are nearer than this are one
N_COLOURS = 5


@dataclass(frozen=True)
class Curve:
    """What one run contributes to a picture."""

    label: str
    run: int  # number of the run, which has a colour
    points: Sequence[Point]
    what: str = ""  # it is of the run, where that is not what the picture says
    is_thin: bool = False


@dataclass(frozen=True)
class Mark:
    """A decision at a step."""

    step: int
    kind: str
    run: int
    text: str


def plot(name: str, curves: Sequence[Curve], marks: Sequence[Mark], last: int, at_least: tuple[float, ...] = ()) -> str:
    """An SVG element: `name` is the vertical axis with its unit, `last` the last step, `at_least` is on the axis."""
    lanes = sorted({mark.kind for mark in marks})
    top = TOP + LANE * len(lanes)
    height = HEIGHT + LANE * len(lanes)
    across = steps_scale(last, LEFT, WIDTH - RIGHT)
    up = scale((y for curve in curves for _, y in curve.points), height - BOTTOM, top, at_least=at_least)
    parts = [_frame(across, up), *(_curve(curve, across, up) for curve in curves)]
    parts += [_lane(kind, marks, TOP + LANE * number, across, up) for number, kind in enumerate(lanes)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="14" role="img" aria-label="{escape(name)} over steps">{"".join(parts)}</svg>'
    )


def style_of(run: int) -> str:
    """The classes of a run's lines: five colours, and dashes from the sixth run on."""
    return f"c{run % N_COLOURS} d{min(run // N_COLOURS, 2)}"


def _frame(across: Scale, up: Scale) -> str:
    lines = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 5:.1f}" text-anchor="end">{label}</text>'
        for y, label in ((up.place(value), label) for value, label in up.labels())
    )
    steps = "".join(
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{up.begin}" y2="{up.begin + 4}"/>'
        f'<text x="{x:.1f}" y="{up.begin + 18}" text-anchor="middle">{label}</text>'
        for x, label in ((across.place(value), label) for value, label in across.labels(5) if value == int(value))
    )
    name = f'<text class="faint" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{up.begin + 35}" text-anchor="middle">step</text>'
    return lines + steps + name


def _curve(curve: Curve, across: Scale, up: Scale) -> str:
    kind = "thin" if curve.is_thin else "thick"
    return (
        f'<path class="{kind} {style_of(curve.run)}" d="{_path(curve.points, across, up)}">'
        f"<title>{escape(curve.label)}{': ' if curve.what else ''}{escape(curve.what)}</title></path>"
    )


def _path(points: Iterable[Point], across: Scale, up: Scale) -> str:
    """Lines between points, broken at gaps; a point between two gaps is a line of no length, which round ends show."""
    pieces = []
    for is_gap, stretch in groupby(points, key=lambda point: point[1] != point[1]):
        if not is_gap:
            places = [f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in stretch]
            pieces.append(f"M{'L'.join(places)}" if len(places) > 1 else f"M{places[0]}h0")
    return "".join(pieces)


def _lane(kind: str, marks: Sequence[Mark], y: int, across: Scale, up: Scale) -> str:
    """All marks of a kind in a row, those that are close together as one."""
    near: dict[tuple[int, int], list[Mark]] = defaultdict(list)
    for mark in marks:
        if mark.kind == kind:
            near[int(across.place(mark.step) // MARK), mark.run].append(mark)
    drawn = (_mark(together, across.place(together[0].step), y, up) for together in near.values())
    return "".join(drawn)


def _mark(together: Sequence[Mark], x: float, y: int, up: Scale) -> str:
    first = together[0]
    more = f"{count(len(together), first.kind)} up to step {together[-1].step:,}, the first: "
    title = escape((more if len(together) > 1 else "") + first.text)
    return (
        f'<g class="mark {style_of(first.run)}"><title>{title}</title>'
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y + 6}" y2="{up.begin}"/>'
        f'<text x="{x:.1f}" y="{y + 4}" text-anchor="middle">{escape(first.kind[:1].upper())}</text></g>'
    )
