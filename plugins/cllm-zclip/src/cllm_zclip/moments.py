"""Mean and variance of a series: of some first values, from then on exponential moving averages.

Only + - * / sqrt in float64 and in a fixed order: the same bits on every processor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Moments:
    """The mean, and the variance around it."""

    mean: float
    variance: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Moments:
        """Of some values, each of which counts alike (the variance is that of the values, divided by their number)."""
        # Loops, not sum(): from Python 3.12 on it compensates for rounding, so its bits differ between versions.
        total = squares = 0.0
        for value in values:
            total += value
        mean = total / len(values)
        for value in values:
            squares += (value - mean) * (value - mean)
        return cls(mean, squares / len(values))

    def with_value(self, value: float, alpha: float) -> Moments:
        """After one more value, which counts 1 - alpha; its distance is that from the new mean."""
        mean = alpha * self.mean + (1.0 - alpha) * value
        return Moments(mean, alpha * self.variance + (1.0 - alpha) * ((value - mean) * (value - mean)))

    @property
    def deviation(self) -> float:
        return math.sqrt(self.variance)
