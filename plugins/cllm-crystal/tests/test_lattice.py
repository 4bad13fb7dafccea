"""The tables: points of the spiral, sums of prime factors, their deviation, and which parameters they are for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cllm import kernels
from cllm.program import Parameter

from cllm_crystal.initializers import Lattice, LatticeConfig
from cllm_crystal.lattice import phyllotaxis, primes, scaled, smallest_factors

GOLDEN_ANGLE = math.radians(137.50776405003785)
TOKENS, POSITIONS = "transformer.wte.weight", "transformer.wpe.weight"


def table_of(name: str, shape: tuple[int, ...] = (65, 48), deviation: float = 0.02) -> Parameter:
    return Parameter(name, shape, offset=640, deviation=deviation)


def draws(parameter: Parameter, seed: int = 3) -> Callable[[float], Any]:
    def normal(deviation: float) -> Any:
        drawn = np.empty(parameter.size, dtype=np.float32)
        kernels.normal(drawn, deviation, seed, parameter.name)
        return drawn.reshape(parameter.shape)

    return normal


def values(parameter: Parameter, **options: Any) -> Any:
    return Lattice(LatticeConfig(**options)).values(parameter, draws(parameter))


def root_mean_square(array: Any) -> float:
    return float(np.sqrt((array.astype(np.float64) ** 2).mean()))


@pytest.mark.parametrize(("n_channels", "harmonics"), [(8, None), (7, None), (8, 1), (8, 3), (1, None)])
def test_seeds_stand_on_vogels_spiral(n_channels: int, harmonics: int | None) -> None:
    table = phyllotaxis(300, n_channels, harmonics)
    for n in range(300):
        for pair in range(-(-n_channels // 2)):
            angle = (1 + pair % (harmonics or 4)) * n * GOLDEN_ANGLE
            point = [math.sqrt(n + 0.5) * math.cos(angle), math.sqrt(n + 0.5) * math.sin(angle)]
            came = table[n, 2 * pair : 2 * pair + 2]
            assert came == pytest.approx(point[: len(came)], abs=1e-5 * math.sqrt(n + 0.5))


def test_the_spiral_packs_its_seeds_evenly() -> None:
    # What the golden angle is for. The nearest two are 1.546 apart, at 137.3 degrees 1.099, at 137.6 degrees 0.974.
    x, y = phyllotaxis(1000, 2).T.astype(np.float64)
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + np.diag(np.full(1000, np.inf))
    assert apart.min() == pytest.approx(1.546, abs=1e-3)


def test_many_windings_fill_the_channels_and_one_is_flat() -> None:
    assert np.linalg.matrix_rank(phyllotaxis(65, 48)) == 48
    assert np.linalg.matrix_rank(phyllotaxis(65, 48, 1)) == 2
    assert np.linalg.matrix_rank(phyllotaxis(65, 48, 3)) == 6


def test_a_row_is_the_sum_of_its_prime_factors() -> None:
    parameter = table_of(TOKENS)
    directions = draws(parameter)(1.0)
    table = primes(directions)
    for row in range(65):
        factors, rest = [], row + 2
        while rest > 1:
            factors.append(next(p for p in range(2, rest + 1) if rest % p == 0))
            rest //= factors[-1]
        assert table[row] == pytest.approx(sum(directions[p - 2].astype(np.float64) for p in factors), abs=1e-5)
    assert (table[[0, 1, 3, 5]] == directions[[0, 1, 3, 5]]).all()  # 2, 3, 5, 7 themselves
    assert np.linalg.matrix_rank(table) == 18  # primes from 2 to 66


def test_smallest_factors() -> None:
    for end in (2, 3, 4, 5, 10, 100):
        expected = [next((p for p in range(2, n) if n % p == 0), n) for n in range(end)]
        assert smallest_factors(end) == expected


@pytest.mark.parametrize("kind", ["phyllotaxis", "primes"])
@pytest.mark.parametrize("shape", [(65, 48), (1, 1), (2, 7), (300, 3)])
def test_values_have_the_root_mean_square_of_the_familys(kind: str, shape: tuple[int, int]) -> None:
    parameter = table_of(TOKENS, shape)
    came = values(parameter, tokens=kind)
    assert (came.dtype, came.shape) == (np.float32, shape)
    assert root_mean_square(came) == pytest.approx(0.02, rel=1e-6)
    assert root_mean_square(values(parameter, tokens=kind, deviation=0.5)) == pytest.approx(0.5, rel=1e-6)
    assert not values(table_of(TOKENS, shape, deviation=0.0), tokens=kind).any()


def test_the_tables_are_found_by_their_names() -> None:
    chosen = {"tokens": "phyllotaxis", "positions": "primes"}
    spiral = scaled(phyllotaxis(65, 48), table_of(TOKENS), 0.02)
    for name in (TOKENS, "model.embed_tokens.weight"):
        assert (values(table_of(name), **chosen) == spiral).all()
    factors = scaled(primes(draws(table_of(POSITIONS))(1.0)), table_of(POSITIONS), 0.02)
    assert (values(table_of(POSITIONS), **chosen) == factors).all()
    for name in ("lm_head.weight", "transformer.h.0.attn.c_attn.weight"):
        assert values(table_of(name), **chosen) is None
    assert values(table_of("transformer.h.0.ln_1.bias", (48,)), **chosen) is None
    assert values(table_of(POSITIONS)) is None
    assert values(table_of(TOKENS), tokens="family") is None
