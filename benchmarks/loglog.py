"""The picture of scale_of_work: how much time and memory grew with each quantity, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2

from benchmarks.scales import AXES, Point
from cllm.markup import COLOURS
from cllm.profiling.chart import DASHED

WIDTH, HEIGHT, MARGIN, COLUMNS = 360, 300, 46, 2
CURVES = ("time", "FLOPs", "memory", "memory counted")  # what ought to be is dashed, in the colour of what is


def chart(found: Mapping[str, Sequence[Point]]) -> str:
    """An SVG of a panel for each letter; every curve begins at 1."""
    panels = [_panel(letter, points) for letter, points in found.items()]
    rows = -(-len(panels) // COLUMNS)
    placed = "".join(
        f'<g transform="translate({WIDTH * (index % COLUMNS)} {HEIGHT * (index // COLUMNS)})">{panel}</g>'
        for index, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * COLUMNS} {HEIGHT * rows}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>{placed}</svg>\n'
    )


def curves(points: Sequence[Point]) -> list[list[float]]:
    """By CURVES, how many times as much as at the first point; memory is left out where the system does not say it."""
    values = [
        [p.seconds for p in points], [p.flops for p in points], [float(p.memory or 0) for p in points],
        [float(p.counted) for p in points],
    ]
    return [[y / ys[0] for y in ys] if all(y > 0.0 for y in ys) else [] for ys in values]


def _panel(letter: str, points: Sequence[Point]) -> str:
    across = [log2(p.x / points[0].x) for p in points]
    up = [[log2(y) for y in ys] for ys in curves(points)]
    low, high = min(0.0, *(y for ys in up for y in ys)), max(1.0, *(y for ys in up for y in ys))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            MARGIN + (WIDTH - 1.5 * MARGIN) * x / across[-1],
            HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (y - low) / (high - low),
        )

    parts = [f'<text x="{WIDTH / 2}" y="20" text-anchor="middle">{letter}: {AXES[letter].what}</text>']
    for x, point in zip(across, points, strict=True):
        left, bottom = place(x, low)
        parts.append(f'<text x="{left:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{short(point.x)}</text>')
    for power in range(int(low), int(high) + 1, max(1, round((high - low) / 5))):
        left, level = place(0.0, float(power))
        label = f"{1 << power}x" if power >= 0 else f"1/{1 << -power}"
        parts.append(
            f'<line x1="{left}" x2="{WIDTH - MARGIN / 2}" y1="{level:.1f}" y2="{level:.1f}" stroke="#e4e4e4"/>'
            f'<text x="{left - 6}" y="{level + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for index, (name, ys) in enumerate(zip(CURVES, up, strict=True)):
        at = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in zip(across, ys, strict=False))
        colour, dashes, key = COLOURS[index // 2], DASHED if index % 2 else "", " (dashed)" if index % 2 else ""
        parts.append(
            f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
            f'<text x="{MARGIN + 8}" y="{MARGIN + 14 * index}" fill="{colour}">{name}{key}</text>'
        )
    return "".join(parts)


def short(n: int) -> str:
    """4096, 65k, 1.7M: what fits under an axis."""
    return str(n) if n < 10_000 else f"{n / 1e3:.0f}k" if n < 1_000_000 else f"{n / 1e6:.1f}M"
