"""The elementary functions in float64 as a table, their points, their errors against mpmath. Not a test itself."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath  # type: ignore[import-untyped]

from cllm import kernels

Point = tuple[float, ...]
LARGEST = 1.7976931348623157e308


@dataclass(frozen=True)
class Function64:
    name: str
    door: Callable[..., float]
    reference: Callable[..., Any]
    largest_error: float  # in ulp, as mathd.h states it: tests/exhaustive measures 10^5 points
    ranges: tuple[tuple[float, float], ...]  # where most points are drawn, beside any float64 at all

    def points(self, n: int) -> Iterator[Point]:
        """n points, the same for ever: uniform in each range, and of uniform bits."""
        if self.name == "pow":
            yield from power_points(n)
            return
        for i in range(n):
            u = unit(i)
            place = i % (len(self.ranges) + 1)
            if place < len(self.ranges):
                low, high = self.ranges[place]
                yield (low + (high - low) * u,)
            else:
                yield (any_float(i),)


def unit(i: int) -> float:
    """In [0, 1): the fractional parts of multiples of the golden ratio, with all 53 bits in use."""
    return (i * 0x9E3779B97F4A7C15 + 0x243F6A8885A308D3) % (1 << 64) / 2.0**64


def any_float(i: int) -> float:
    """A finite float64 of uniform bits."""
    bits = (i * 0xD1342543DE82EF95 + 0x13198A2E03707344) % (1 << 64)
    x: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return x if math.isfinite(x) else 0.5


def power_points(n: int) -> Iterator[Point]:
    """Bases of all sizes and near 1, with exponents that reach over- and underflow."""
    for i in range(n):
        x = (abs(any_float(i)), 0.3 + 3 * unit(7 * i), 1 + (unit(7 * i) - 0.5) / 500)[i % 3]
        yield x, (2 * unit(i) - 1) * 746 / max(abs(math.log(x)), 1e-4)


FUNCTIONS64 = (
    Function64("exp", kernels.exp64, mpmath.exp, 0.82, ((-746, 710), (-2, 2))),
    Function64("log", kernels.log64, mpmath.log, 0.501, ((0, 4), (0.999, 1.001))),
    Function64("sin", kernels.sin64, mpmath.sin, 0.77, ((-10, 10), (-1e9, 1e9))),
    Function64("cos", kernels.cos64, mpmath.cos, 0.77, ((-10, 10), (-1e9, 1e9))),
    Function64("tanh", kernels.tanh64, mpmath.tanh, 1.27, ((-3, 3), (-0.7, 0.7))),
    Function64("erf", kernels.erf64, mpmath.erf, 1.15, ((-6, 6), (0.9, 1.2))),
    Function64("pow", kernels.pow64, mpmath.power, 0.84, ()),
)


def error_in_ulp(got: float, exact: Any) -> float:
    """Inf counts as 2^1024."""
    limit = mpmath.mpf(2) ** 1024
    got_exactly = mpmath.sign(got) * limit if math.isinf(got) else mpmath.mpf(got)
    exact = max(-limit, min(limit, exact))
    return float(abs(got_exactly - exact) / math.ulp(min(float(abs(exact)), LARGEST)))


def worst_error64(function: Function64, n: int) -> tuple[float, Point]:
    """The largest error in ulp over n points, and where."""
    worst = 0.0
    where: Point = (math.nan,)
    with mpmath.workprec(200):
        for point in function.points(n):
            got = function.door(*point)
            if function.name == "log" and point[0] < 0:
                assert math.isnan(got)
                continue
            error = error_in_ulp(got, function.reference(*map(mpmath.mpf, point)))
            if error > worst:
                worst, where = error, point
    return worst, where
