"""Normal draws: of Box and Muller over Philox, functions of seed, name and element alone, and normally distributed."""

from __future__ import annotations

import math
from hashlib import blake2b

import numpy as np
import pytest

from cllm import kernels
from cllm.philox import STREAM_INIT, key_of, philox4x32
from tests.float32 import Float32

SEED = 0x89ABCDEF


def normal(n: int, deviation: float = 1.0, seed: int = SEED, name: str = "w", n_threads: int = 1) -> Float32:
    out = np.full(n, np.nan, dtype=np.float32)
    kernels.normal(out, deviation, seed, name, n_threads)
    return out


def definition(element: int, name: str) -> float:
    """In float64: of each pair of words one gives the radius, one the angle, of two draws."""
    key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
    words = philox4x32((element // 4, 0, key & 0xFFFFFFFF, key >> 32), key_of(SEED, STREAM_INIT))
    a, b = words[element % 4 // 2 * 2 :][:2]
    angle = 2.0 * math.pi * b / 2**32
    return math.sqrt(-2.0 * math.log((a + 1) / 2**32)) * (math.sin(angle) if element % 2 else math.cos(angle))


@pytest.mark.parametrize("name", ["w", "transformer.wte.weight"])
def test_draws_are_the_definition(name: str) -> None:
    expected = [0.02 * definition(element, name) for element in range(333)]
    np.testing.assert_allclose(normal(333, 0.02, name=name), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 63, 64, 65, 1000])
def test_neither_threads_nor_the_length_change_a_draw(n: int, n_threads: int) -> None:
    assert normal(n, n_threads=n_threads).tobytes() == normal(1003)[:n].tobytes()


def test_seeds_and_names_share_no_draws() -> None:
    arrays = [normal(50), normal(50, seed=SEED + 1), normal(50, seed=SEED ^ 1 << 31), normal(50, name="v")]
    assert len(np.unique(np.concatenate(arrays))) == 200


def test_moments_and_tails_are_those_of_a_normal_distribution() -> None:
    """Each within four of its standard errors, for N = 2^18 draws."""
    n = 1 << 18
    x = normal(n, n_threads=2).astype(np.float64)
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs((x**2).mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs((x**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert abs((x[:-1] * x[1:]).mean()) < 4 / math.sqrt(n)
    for deviations in (0.5, 1.0, 2.0, 3.0, 4.0):
        share = math.erfc(deviations / math.sqrt(2))
        assert abs((np.abs(x) > deviations).mean() - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_the_deviation_scales() -> None:
    np.testing.assert_allclose(normal(100, 0.02), 0.02 * normal(100).astype(np.float64), rtol=1e-6)
    assert not normal(100, 0.0).any()
