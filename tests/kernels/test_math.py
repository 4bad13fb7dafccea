"""Elementary functions on a stratified sample: exact to the stated ulp, monotone, NaN-safe, one digest everywhere.

tests/exhaustive has the same over every float32.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import platform
import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cllm import kernels
from cllm.errors import KernelError
from tests.kernels.elementary import (
    FUNCTIONS,
    POW_LARGEST_ERROR,
    Float32,
    Function,
    floats,
    rank_of,
    ulp_errors,
    worst_error,
)
from tests.kernels.elementary64 import FUNCTIONS64, Function64, worst_error64
from tests.layers import SOURCES

inf, nan = math.inf, math.nan
TINY = 2.0**-149  # the smallest float32
by_name = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
by_name64 = pytest.mark.parametrize("function", FUNCTIONS64, ids=lambda f: f.name)


def sample(function: Function) -> Iterator[Float32]:
    """Runs of neighbours: the ends of every binade of either sign and four places within, and around the seams."""
    for binade in range(512):
        for place in (0, 1, 2, 3):
            within = (binade * 4 + place) * 2654435761 % (1 << 23)
            yield floats((binade << 23) + within, 48)
        yield floats(max((binade << 23) - 24, 0), 48)
    for seam in function.seams:
        yield floats(rank_of(seam) - 1500, 3000)


@by_name
def test_exact_to_the_stated_ulp_and_monotone(function: Function) -> None:
    worst = max(worst_error(function, run)[0] for run in sample(function))
    assert 0 < worst <= function.largest_error


@pytest.mark.parametrize(("header", "table"), [("mathf.h", FUNCTIONS), ("mathd.h", FUNCTIONS64)], ids=["32", "64"])
def test_the_headers_state_the_errors_that_are_tested(header: str, table: tuple[Function | Function64, ...]) -> None:
    comment = (SOURCES / "cllm/_kernels" / header).read_text().partition("*/")[0].replace("\n *", "")
    stated: dict[str, float] = {}
    for first, second, error in re.findall(r"(?:(\w+) and )?(\w+) (\d\.\d+)", comment.partition("Largest error")[2]):
        stated |= dict.fromkeys({first or second, second}, float(error))
    for function in table:
        assert function.largest_error == stated[function.name], function.name


GOLDEN = {
    "exp": "c867745110af0243",
    "log": "92a29e076cfa2c61",
    "tanh": "c5ed2f00ad090d2b",
    "erf": "ce563fdc57fdbc6c",
    "sin": "523d9b499dfd3de3",
    "cos": "d87ff466c8b12a07",
    "rsqrt": "ceb23f95f2a07c51",
}


@by_name
def test_same_bits_on_every_build(function: Function) -> None:
    digest = blake2b(digest_size=8)
    for run in sample(function):
        y = kernels.map_float32(function.name, run)
        digest.update(np.where(np.isnan(y), np.float32(0), y).tobytes())
    assert digest.hexdigest() == GOLDEN[function.name]


@by_name
def test_a_lane_is_alone(function: Function) -> None:
    x = np.linspace(0.1, 7, 67, dtype=np.float32)
    y = kernels.map_float32(function.name, x)
    for n in range(1, 67):
        np.testing.assert_array_equal(kernels.map_float32(function.name, x[:n].copy()), y[:n])
    for i in range(67):
        dirty = x.copy()
        dirty[i] = nan
        np.testing.assert_array_equal(np.isnan(kernels.map_float32(function.name, dirty)), np.arange(67) == i)


EXACT = [  # in float32 and in float64
    ("exp", [0, -0.0, inf, -inf, nan], [1, 1, inf, 0, nan]),
    ("log", [0, -0.0, 1, inf, -1, -inf, nan], [-inf, -inf, 0, inf, nan, nan, nan]),
    ("tanh", [0, -0.0, inf, -inf, nan], [0, -0.0, 1, -1, nan]),
    ("erf", [0, -0.0, inf, -inf, nan], [0, -0.0, 1, -1, nan]),
    ("sin", [0, -0.0, inf, -inf, nan], [0, -0.0, nan, nan, nan]),
    ("cos", [0, -0.0, inf, -inf, nan], [1, 1, nan, nan, nan]),
]


def assert_same(got: NDArray[Any], expected: NDArray[Any]) -> None:
    """Equal, with the sign of zero and with NaN in the same places."""
    np.testing.assert_array_equal(got, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(expected)[number])


@pytest.mark.parametrize(("name", "x", "expected"), EXACT, ids=[row[0] for row in EXACT])
def test_exact_values(name: str, x: list[float], expected: list[float]) -> None:
    assert_same(kernels.map_float32(name, np.array(x, dtype=np.float32)), np.array(expected, dtype=np.float32))
    door = getattr(kernels, name + "64")
    assert_same(np.array([door(value) for value in x]), np.array(expected))


LIMITS = [  # float32: x, f(x)
    ("exp", [89, -104, -103.97208, -20, 80], [inf, 0, TINY, 2.0611537e-09, 5.5406225e34]),
    ("log", [TINY, 3.4028235e38], [-103.27893, 88.72284]),
    ("tanh", [TINY, -TINY, 10, -10], [TINY, -TINY, 1, -1]),
    ("erf", [TINY, -TINY, 4, -4], [TINY, -TINY, 1, -1]),
    ("rsqrt", [0, inf, 4, -1, 1e-30], [inf, 0, 0.5, nan, 1e15]),
]


@pytest.mark.parametrize(("name", "x", "expected"), LIMITS, ids=[row[0] for row in LIMITS])
def test_float32_limits(name: str, x: list[float], expected: list[float]) -> None:
    assert_same(kernels.map_float32(name, np.array(x, dtype=np.float32)), np.array(expected, dtype=np.float32))


POWERS = [  # x, y, x^y: C's special values, but a NaN always comes through
    (2, 10, 1024), (2, -1074, 5e-324), (2, 1024, inf), (2, -1080, 0), (-2, 3, -8), (-2, 2, 4), (-8, 1 / 3, nan),
    (0, 0, 1), (0, 2, 0), (-0.0, 3, -0.0), (-0.0, 2, 0), (0, -1, inf), (-0.0, -1, -inf), (-0.0, -2, inf),
    (inf, 2, inf), (inf, -2, 0), (-inf, 3, -inf), (-inf, -3, -0.0), (-inf, 0.5, inf), (inf, 0, 1),
    (1, inf, 1), (-1, inf, 1), (2, inf, inf), (2, -inf, 0), (0.5, inf, 0), (0.5, -inf, inf), (-0.5, inf, 0),
    (1, nan, nan), (nan, 0, nan), (nan, nan, nan), (-1, 2.0**53, 1), (-1, 2.0**53 - 1, -1), (1.5, 1, 1.5),
]


def test_powers() -> None:
    for x, y, expected in POWERS:
        got = kernels.pow64(x, y)
        same = got == expected and math.copysign(1, got) == math.copysign(1, expected)
        assert same or (math.isnan(got) and math.isnan(expected)), f"{x}^{y} = {got}"


def test_pow_of_arrays() -> None:
    x = np.exp(np.linspace(-80, 80, 20011)).astype(np.float32)
    y = np.cos(np.arange(20011, dtype=np.float32)) * np.float32(1.3)
    got, exact = kernels.map_float32("pow", x, y), np.power(x.astype(np.float64), y.astype(np.float64))
    assert ulp_errors(got, exact).max() <= POW_LARGEST_ERROR


@by_name64
def test_float64_to_the_stated_ulp(function: Function64) -> None:
    worst, _ = worst_error64(function, 1500)
    assert 0 < worst <= function.largest_error


GOLDEN64 = {
    "exp": "9e9770b96c3e9da3",
    "log": "c8e87109ceb57346",
    "sin": "19c4179b0d1b69f8",
    "cos": "94c0017f661fe811",
    "tanh": "90cd147f6480cf21",
    "erf": "f09f99487edbf093",
    "pow": "6dee770213b7d4c5",
}


@by_name64
def test_same_float64_bits_on_every_build(function: Function64) -> None:
    digest = blake2b(digest_size=8)
    for arguments in function.points(5000):
        y = function.door(*arguments)
        digest.update(np.float64(0 if math.isnan(y) else y).tobytes())
    assert digest.hexdigest() == GOLDEN64[function.name]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of a rounding mode is the processor's")
def test_the_callers_rounding_mode_changes_nothing() -> None:
    """Numerics rule 7; the mode is put back."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    x = np.linspace(-5, 5, 100, dtype=np.float32)
    before = kernels.map_float32("exp", x).tobytes(), kernels.exp64(0.3), kernels.pow64(1.1, 0.3)
    assert libm.fesetround(0x800) == 0  # FE_UPWARD
    try:
        after = kernels.map_float32("exp", x).tobytes(), kernels.exp64(0.3), kernels.pow64(1.1, 0.3)
        assert libm.fegetround() == 0x800
    finally:
        libm.fesetround(0)
    assert after == before


@pytest.mark.parametrize("name", ["expp", "pow", ""])
def test_unknown_name(name: str) -> None:
    with pytest.raises(KernelError, match="map_float32"):
        kernels.map_float32(name, np.zeros(3, dtype=np.float32))
