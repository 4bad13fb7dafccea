"""How many steps a check and a run have: many where steps are short, few where one takes seconds."""

from __future__ import annotations

from collections.abc import Sequence

MOST_CHECKED, FEWEST_CHECKED = 10, 3
CHECK_SECONDS = 10.0


def check_steps(slowest: float) -> int:
    """Steps whose losses are compared, the first included, where the slowest side's takes this many seconds."""
    return max(FEWEST_CHECKED, min(MOST_CHECKED, round(CHECK_SECONDS / slowest)))


def run_steps(slowest: float, seconds: float) -> int:
    """Steps of a run that lasts about so many seconds, at least one."""
    return max(1, round(seconds / slowest))


def agree(ours: Sequence[float], theirs: Sequence[float], tolerance: tuple[float, float]) -> bool:
    """Whether losses are as near as they must be: the first, which no update has touched, and later ones."""
    bounds = [tolerance[0]] + [tolerance[1]] * (len(ours) - 1)
    return all(abs(a - b) <= bound * abs(b) for a, b, bound in zip(ours, theirs, bounds, strict=True))
