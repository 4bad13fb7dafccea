"""The picture of `cllm bench`: speed-up over threads, measured and predicted, beside the line that none can pass."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from cllm.errors import count
from cllm.markup import COLOURS
from cllm.profiling.bench import Measured

WIDTH, HEIGHT, MARGIN = 640, 420, 56
DASHED = ' stroke-dasharray="6 5"'


def write_chart(path: Path, rows: Sequence[Measured]) -> None:
    """Write an SVG file: a line a config, whole where it was measured, dashed where it is predicted."""
    path.write_text(chart(rows), encoding="utf-8")


def chart(rows: Sequence[Measured]) -> str:
    most = max(row.n_threads for row in rows)
    names = list(dict.fromkeys(row.name for row in rows))
    parts = [_axes(most)]
    for index, name in enumerate(names):
        parts.append(_curve(sorted((r for r in rows if r.name == name), key=lambda r: r.n_threads), index, most))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _x(threads: float, most: int) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * (threads / most)


def _y(speedup: float, most: int) -> float:
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (speedup / most)


def _axes(most: int) -> str:
    ticks = "".join(
        f'<text x="{_x(n, most):.1f}" y="{HEIGHT - MARGIN + 20}" text-anchor="middle">{n}</text>'
        f'<text x="{MARGIN - 10}" y="{_y(n, most) + 4:.1f}" text-anchor="end">{n}</text>'
        f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{_y(n, most):.1f}" y2="{_y(n, most):.1f}" stroke="#e4e4e4"/>'
        for n in range(1, most + 1)
    )
    return (
        f'{ticks}<line x1="{_x(0, most):.1f}" y1="{_y(0, most):.1f}" x2="{_x(most, most):.1f}" '
        f'y2="{_y(most, most):.1f}" stroke="#999" stroke-dasharray="2 4"/>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">threads</text>'
        f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})">speed-up</text>'
    )


def _curve(rows: Sequence[Measured], index: int, most: int) -> str:
    colour, at = COLOURS[index % len(COLOURS)], [(_x(r.n_threads, most), _y(r.speedup, most)) for r in rows]
    lines = "".join(
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="2"'
        f'{DASHED if row.predicted else ""}/>'
        for (x1, y1), (x2, y2), row in zip(at, at[1:], rows[1:], strict=False)
    )
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" stroke="{colour}" stroke-width="2" '
        f'fill="{"white" if row.predicted else colour}"><title>{count(row.n_threads, "thread")}: {row.speedup:.2f}'
        f'{", predicted" if row.predicted else ""}</title></circle>'
        for (x, y), row in zip(at, rows, strict=True)
    )
    label = f"{rows[0].name}{' (dashed: predicted)' if any(row.predicted for row in rows) else ''}"
    key = MARGIN + 8 + 20 * index
    return (
        f'{lines}{dots}<rect x="{MARGIN + 12}" y="{key}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{MARGIN + 30}" y="{key + 11}">{escape(label)}</text>'
    )
