"""The norm of a gradient, which is also the finite flag: its chains, and that no element that is not finite escapes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cllm import kernels
from cllm.program import Parameter
from tests.float32 import Float32, fma

TABLE = (  # not in the order of names, in which the norm adds; frozen ones have no gradient
    Parameter("w.b", (5, 70), 0),
    Parameter("w.a", (13,), 350),
    Parameter("v", (3, 1), 363),
    Parameter("u", (1,), 366),
    Parameter("w.c", (2, 64), 367),
    Parameter("frozen", (9,), 495, trainable=False),
)
N = 495


def gradient() -> Float32:
    return np.random.default_rng(5).standard_normal(N).astype(np.float32)


def column_squares(flat: Float32, parameter: Parameter) -> Float32:
    """One float32 chain a column over ascending rows (numerics rule 3)."""
    total = np.zeros(parameter.shape[-1], dtype=np.float32)
    for row in flat[parameter.offset :][: parameter.size].reshape(-1, parameter.shape[-1]):
        total = fma(row, row, total)
    return total


def float64_chain(parameters: list[Parameter]) -> float:
    total = 0.0
    for parameter in parameters:
        for square in column_squares(gradient(), parameter):
            total += float(square)
    return math.sqrt(total)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_a_norm_is_its_chains_whatever_the_threads(n_threads: int) -> None:
    norms = kernels.Norms(TABLE)
    in_name_order = sorted(TABLE[:-1], key=lambda parameter: parameter.name)
    assert norms.compute(gradient(), n_threads) == float64_chain(in_name_order)
    for parameter in in_name_order:
        assert norms.of(parameter.name) == float64_chain([parameter])


def test_a_norm_is_the_norm() -> None:
    exact = math.sqrt(math.fsum(float(x) ** 2 for x in gradient()))
    assert kernels.Norms(TABLE).compute(gradient()) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e20])
def test_an_element_that_is_not_finite_raises_the_flag(poison: float) -> None:
    """Wherever it stands; also one whose square float32 cannot hold, for no update may come of it."""
    norms, flat = kernels.Norms(TABLE), gradient()
    for element in range(N):
        clean, flat[element] = flat[element], poison
        assert not math.isfinite(norms.compute(flat)), element
        flat[element] = clean
    assert math.isfinite(norms.compute(flat))


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 1000])
def test_elements_that_are_not_finite_are_counted(n: int) -> None:
    x = np.full(n, 3.4e38, dtype=np.float32)
    assert kernels.count_nonfinite(x) == 0
    for count, element in enumerate(range(0, n, 3), start=1):
        x[element] = (np.nan, np.inf, -np.inf)[count % 3]
        assert kernels.count_nonfinite(x) == count
