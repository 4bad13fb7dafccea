"""As many points of a curve as can be seen: of each stretch the least and the greatest, so that no leap is lost.

Of a restless curve there are means as well: its course is in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

Point = tuple[int, float]  # a step and its value; NaN is a gap

MOST = 1000  # points of a curve, gaps not counted: a picture is some 600 pixels wide
N_MEANS = 60


def thinned(steps: Sequence[int], values: Sequence[float], most: int = MOST) -> list[Point]:
    """At most `most` points and their gaps, in their order, with the first and the last; all where there are few."""
    n = len(steps)
    if n <= most:
        return list(zip(steps, values, strict=True))
    numbers = np.array(values, np.float64)
    is_gap = np.isnan(numbers)
    lows, highs = np.where(is_gap, np.inf, numbers), np.where(is_gap, -np.inf, numbers)
    chosen = {0, n - 1}
    for stretch in _stretches(n, most // 2 - 1):
        part = slice(stretch.start, stretch.stop)
        if not is_gap[part].all():
            chosen |= {stretch.start + int(lows[part].argmin()), stretch.start + int(highs[part].argmax())}
        if is_gap[part].any():
            chosen.add(stretch.start + int(is_gap[part].argmax()))
    return [(steps[i], values[i]) for i in sorted(chosen)]


def means(steps: Sequence[int], values: Sequence[float]) -> list[Point]:
    """The mean of each of some sixty stretches, at its middle, NaN left out; none of a curve too short to need it."""
    if len(steps) < 2 * N_MEANS:
        return []
    points = []
    for stretch in _stretches(len(steps), N_MEANS):
        there = [value for value in values[stretch.start : stretch.stop] if value == value]
        middle = steps[stretch[len(stretch) // 2]]
        points.append((middle, sum(there) / len(there) if there else math.nan))
    return points


def _stretches(n: int, most: int) -> Iterator[range]:
    """0 to n - 1 in at most so many pieces, all but the last of one length."""
    width = math.ceil(n / most)
    for start in range(0, n, width):
        yield range(start, min(start + width, n))
