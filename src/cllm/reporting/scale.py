"""The scale of an axis: where a number stands on it, and the round numbers that are written beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cllm.figures import short

MOST = 1e300  # so that no difference of two overflows, whatever a file holds
RESOLVED = 1e-9  # of numbers that are nearer to each other than this, relatively, no ticks would differ
RANGE_FOR_POWERS = 50.0  # greatest over least from which on an axis goes by powers of ten


@dataclass(frozen=True)
class Scale:
    """From `low`, which stands at `begin`, to `high`, at `end`; in powers of ten, or even."""

    low: float
    high: float
    begin: float
    end: float
    in_powers: bool = False

    def place(self, value: float) -> float:
        """Where a number stands; one beyond an end at that end."""
        low, high, value = (self._even(number) for number in (self.low, self.high, value))
        share = (value - low) / (high - low)
        return self.begin + (self.end - self.begin) * min(max(share, 0.0), 1.0)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers on the scale."""
        if not self.in_powers:
            return _round_numbers(self.low, self.high, most)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        every = max(1, math.ceil((last - first + 1) / most))
        powers = [10.0**power for power in range(first, last + 1, every)]
        between = (factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5))
        finer = [value for value in between if self.low <= value <= self.high]
        return finer if len(powers) < 3 and len(finer) <= 2 * most else powers

    def labels(self, most: int = 6) -> list[tuple[float, str]]:
        """The round numbers as they are written, all in one way where they are even."""
        ticks = self.ticks(most)
        largest = None if self.in_powers else max(map(abs, ticks), default=0.0)
        return [(value, short(value, largest)) for value in ticks]

    def _even(self, value: float) -> float:
        if not self.in_powers:
            return value
        return math.log10(value) if value > 0.0 else -math.inf


def scale(values: Iterable[float], begin: float, end: float, *, at_least: tuple[float, ...] = ()) -> Scale:
    """The scale for these numbers, NaN left out; what is in `at_least` is on it in any case."""
    there = [*(min(max(value, -MOST), MOST) for value in values if value == value), *at_least]
    low, high = min(there, default=0.0), max(there, default=1.0)
    if low > 0.0 and high / low > RANGE_FOR_POWERS:
        return Scale(low, high, begin, end, in_powers=True)
    size = max(abs(low), abs(high))
    if high - low <= max(RESOLVED * size, 1.0 / MOST):
        around = 0.1 * size if size > 1.0 / MOST else 1.0
        low, high = low - around, high + around
    room = 0.04 * (high - low)  # so that no curve lies on the frame
    return Scale(low if low in at_least else low - room, high if high in at_least else high + room, begin, end)


def steps_scale(last: int, begin: float, end: float) -> Scale:
    """The axis of steps, from none to the last."""
    return Scale(0.0, float(max(last, 1)), begin, end)


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most `most` + 1."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    every = next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) <= most)
    return [number * every for number in range(math.ceil(low / every - 1e-9), math.floor(high / every + 1e-9) + 1)]
