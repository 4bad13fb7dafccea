"""The tables of a comparison, in Markdown: where the arms end, and how they got there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from statistics import mean, stdev

Found = Mapping[str, Mapping[str, Sequence[float]]]  # arm -> seed -> validation losses; the first arm is the default


def finals(found: Found) -> str:
    """Of each arm the last loss over the seeds, and by how much it is above the default's with the same seed."""
    default = next(iter(found.values()))
    heads = ("", "last loss", "its deviation", "above the default", "least and most")
    return _table(heads, ((name, *_final(curves, default)) for name, curves in found.items()))


def _final(curves: Mapping[str, Sequence[float]], default: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    last = [curve[-1] for curve in curves.values()]
    ends = f"{mean(last):.4f}", f"{stdev(last):.4f}"
    if curves is default:
        return *ends, "", ""
    above = [curve[-1] - default[seed][-1] for seed, curve in curves.items()]
    error = stdev(above) / sqrt(len(above))  # of the mean
    return *ends, f"{_signed(mean(above))} ± {error:.4f}", f"{_signed(min(above))}, {_signed(max(above))}"


def _signed(value: float) -> str:
    return f"{value:+.4f}" if abs(value) >= 0.00005 else f"{value:+.0e}"


def progress(found: Found, every: int) -> str:
    """Of each arm the mean loss over the seeds, at six evaluations or fewer."""
    n_points = len(next(iter(next(iter(found.values())).values())))
    shown = sorted({(n_points - 1) * part // 5 for part in range(6)})
    lines = (
        (name, *(f"{mean(curve[point] for curve in curves.values()):.4f}" for point in shown))
        for name, curves in found.items()
    )
    return _table(("step", *(f"{(point + 1) * every:,}" for point in shown)), lines)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ("---", *("---:" for _ in heads[1:]))
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, rule, *lines))
