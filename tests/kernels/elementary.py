"""The elementary functions in float32 as a table, and what is asked of each over any run of inputs. Not a test itself.

Inputs are addressed by rank: rank 0 is the NaN furthest below -Inf, 2^31 is +0, and a next rank is a next float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cllm import kernels

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
N_FLOATS = 1 << 32


@dataclass(frozen=True)
class Function:
    name: str
    reference: Callable[[Float64], Float64]
    largest_error: float  # in ulp, as mathf.h states it: tests/exhaustive measures all float32
    rises: int = 0  # 1: never falls, -1: never rises (over x > 0), 0: neither
    seams: tuple[float, ...] = ()  # where the piecewise forms meet


def erf(x: Float64) -> Float64:
    """math.erf where it is neither 2x/sqrt(pi) (1 - x^2/3) nor +-1 to more than float32's precision."""
    y = np.where(np.abs(x) < 2**-10, x * (2 / math.sqrt(math.pi)) * (1 - x * x / 3), np.sign(x))
    y = np.where(np.isnan(x), x, np.copysign(y, x))
    middle = (np.abs(x) >= 2**-10) & (np.abs(x) < 6)
    y[middle] = [math.erf(v) for v in x[middle].tolist()]
    return y


HALF_LN2 = math.log(2) / 2
FUNCTIONS = (
    Function("exp", np.exp, 1.013, 1, (-104, -103.28, -87.34, 88.72, 89, *(HALF_LN2 * k for k in range(-9, 10, 2)))),
    Function("log", np.log, 0.938, 1, (1, *(2 / 3 * 2.0**k for k in (-127, -126, -3, -1, 0, 1, 2, 127)))),
    Function("tanh", np.tanh, 1.333, 1, (-0.6, 0.6, -9.01, 9.01, 10)),
    Function("erf", erf, 1.159, 1, (-1, 1, -3.92, 3.92, 3.95)),
    Function("sin", np.sin, 0.501, 0, (2**28, math.pi, 11 * math.pi / 2, 16367173 * 2.0**72)),
    Function("cos", np.cos, 0.501, 0, (2**28, math.pi, 11 * math.pi / 2, 16367173 * 2.0**72)),
    Function("rsqrt", lambda x: 1 / np.sqrt(x), 1.491, -1, (0, 2**-126)),
)
POW_LARGEST_ERROR = 0.501  # in ulp, on samples: of two arguments nobody tries all


def floats(first_rank: int, n: int) -> Float32:
    """n float32 in ascending order from a rank on, fewer at the end."""
    rank = np.arange(first_rank, min(first_rank + n, N_FLOATS), dtype=np.uint32)
    return np.where(rank < 1 << 31, ~rank, rank - np.uint32(1 << 31)).view(np.float32)


def rank_of(x: float) -> int:
    bits = int(np.float32(x).view(np.uint32))
    return (1 << 31) + bits if bits < 1 << 31 else (1 << 32) - 1 - bits


def ulp_errors(got: Float32, exact: Float64) -> Float64:
    """|got - exact| in units of the last place of exact in float32; Inf counts as 2^128, two NaN as no error."""
    exponent = np.maximum(np.frexp(np.abs(np.where(np.isfinite(exact), exact, 0)))[1], -125)
    limit = 2.0**128
    difference = np.clip(got.astype(np.float64), -limit, limit) - np.clip(exact, -limit, limit)
    return np.where(np.isnan(exact), 0, np.abs(np.ldexp(difference, 24 - np.minimum(exponent, 128))))


def worst_error(function: Function, x: Float32) -> tuple[float, float]:
    """The largest error in ulp over ascending x, and where; asserts all that must hold besides."""
    with np.errstate(all="ignore"):
        got, exact = kernels.map_float32(function.name, x), function.reference(x.astype(np.float64))
        wrong = np.isnan(got) != np.isnan(exact)
        assert not wrong.any(), f"{function.name}({x[wrong][0]!r}) = {got[wrong][0]!r}"
        wrong = (np.signbit(got) != np.signbit(exact)) & ~np.isnan(got)
        assert not wrong.any(), f"the sign of {function.name}({x[wrong][0]!r}) = {got[wrong][0]!r}"
        if function.rises:
            back = (got[1:] - got[:-1]) * function.rises < 0
            back &= (x[:-1] > 0) | (function.rises > 0)
            assert not back.any(), f"{function.name} is not monotone at {x[1:][back][0]!r}"
        errors = ulp_errors(got, exact)
    return float(errors.max()), float(x[errors.argmax()])
