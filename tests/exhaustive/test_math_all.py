"""Every elementary function over all 2^32 float32 against NumPy's float64, and 10^5 float64 points against mpmath.

About five minutes a function. `pytest tests/exhaustive -m exhaustive -s` prints the largest errors.
"""

from __future__ import annotations

import pytest

from tests.kernels.elementary import FUNCTIONS, N_FLOATS, Function, floats, worst_error
from tests.kernels.elementary64 import FUNCTIONS64, Function64, worst_error64

pytestmark = pytest.mark.exhaustive
CHUNK = 1 << 20


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_every_float32(function: Function) -> None:
    """Chunks overlap by one, so that monotone means from each float32 to the next."""
    worst = max(worst_error(function, floats(max(first - 1, 0), CHUNK + 1)) for first in range(0, N_FLOATS, CHUNK))
    print(f"\n{function.name}: at most {worst[0]:.4f} ulp, at {worst[1]!r}")
    assert function.largest_error * 0.99 < worst[0] <= function.largest_error  # what is stated is what is true


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("function", FUNCTIONS64, ids=lambda f: f.name)
def test_many_float64(function: Function64) -> None:
    worst, where = worst_error64(function, 100_000)
    print(f"\n{function.name}64: at most {worst:.4f} ulp in 100,000 points, at {where!r}")
    assert function.largest_error * 0.9 < worst <= function.largest_error  # points miss the very worst
