"""Muon: its iteration against the singular values in float64, its update against its definition, threads, and runs."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm.builtin.groups import GroupConfig
from cllm.builtin.muon import Muon, MuonConfig, orthogonal
from cllm.builtin.optimizers import AdamW, AdamWConfig
from cllm.errors import CheckpointError
from cllm.program import Parameter
from tests.runs import config, digest_of, finish, leave_half_way, train

SHAPES = [(1, 1), (1, 7), (9, 4), (4, 9), (33, 33), (48, 130)]
TABLE = (
    Parameter("wte.weight", (5, 4), 0, decay=True),
    Parameter("h.weight", (4, 9), 20, decay=True),
    Parameter("h.bias", (9,), 56),
    Parameter("h.slow", (9, 4), 65, decay=True, learning_rate_scale=0.5),
)
N = 101


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def exact(matrix: np.ndarray) -> np.ndarray:
    """The quintic of every singular value, by its definition."""
    u, s, v = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ v


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_quintic_of_the_singular_values(shape: tuple[int, int]) -> None:
    matrix = draw(shape)
    found = orthogonal(matrix)
    assert np.linalg.norm(found - exact(matrix)) <= 1e-4 * np.linalg.norm(exact(matrix))
    if min(shape) < max(shape):
        values = np.linalg.svd(found.astype(np.float64), compute_uv=False)
        assert values.min() > 0.6
        assert values.max() < 1.3


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_size_of_a_gradient_does_not_matter(scale: float) -> None:
    matrix = draw((4, 9))
    np.testing.assert_allclose(orthogonal(matrix * np.float32(scale)), orthogonal(matrix), rtol=1e-3, atol=1e-5)


def test_nothing_stays_nothing_and_nan_travels() -> None:
    assert not orthogonal(np.zeros((3, 5), dtype=np.float32)).any()
    for poison in (np.nan, np.inf):
        matrix = draw((4, 9))
        matrix[1, 2] = poison
        assert not np.isfinite(orthogonal(matrix)).all()


def made(**options: Any) -> Muon:
    optimizer = Muon(MuonConfig(**options))
    optimizer.init(TABLE)
    return optimizer


def step(optimizer: Any, parameters: np.ndarray, seed: int, n_threads: int = 1) -> bool:
    found: bool = optimizer.step(
        parameters, draw((N,), seed), learning_rate=0.01, gradient_scale=0.5, n_threads=n_threads
    )
    return found


def test_an_update_is_its_definition() -> None:
    optimizer, parameters = made(), draw((N,))
    expected, momentum = parameters.astype(np.float64), np.zeros(N)
    for seed in (1, 2, 3):
        assert step(optimizer, parameters, seed)
        gradient = 0.5 * draw((N,), seed)
        momentum = 0.95 * momentum + gradient
        for p in (TABLE[1], TABLE[3]):
            place, rate = slice(p.offset, p.offset + p.size), 0.01 * p.learning_rate_scale
            update = exact((gradient + 0.95 * momentum)[place].reshape(p.shape)).reshape(-1)
            expected[place] -= rate * (0.1 * expected[place] + 0.2 * sqrt(9) * update)
    for p in (TABLE[1], TABLE[3]):
        place = slice(p.offset, p.offset + p.size)
        np.testing.assert_allclose(parameters[place], expected[place], rtol=1e-4, atol=1e-5)


def test_embeddings_and_vectors_are_adamws() -> None:
    found, plain = draw((N,)), draw((N,))
    muon, adamw = made(), AdamW(AdamWConfig())
    adamw.init(TABLE)
    for seed in (1, 2):
        step(muon, found, seed)
        step(adamw, plain, seed)
    for p in (TABLE[0], TABLE[2]):
        place = slice(p.offset, p.offset + p.size)
        assert found[place].tobytes() == plain[place].tobytes()


def test_there_may_be_nothing_but_matrices() -> None:
    optimizer, parameters = Muon(MuonConfig(adamw=[])), draw((20,))
    optimizer.init(TABLE[:1])
    before = parameters.copy()
    assert optimizer.step(parameters, draw((20,), 1), learning_rate=0.01, gradient_scale=1.0, n_threads=2)
    assert (parameters != before).all()


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_threads_change_no_bit(n_threads: int) -> None:
    alone, together = draw((N,)), draw((N,))
    optimizers = made(), made()
    for seed in (1, 2):
        step(optimizers[0], alone, seed)
        step(optimizers[1], together, seed, n_threads)
    assert alone.tobytes() == together.tobytes()
    matrix = draw((257, 260))  # large enough to be shared
    assert orthogonal(matrix).tobytes() == orthogonal(matrix, n_threads).tobytes()


def test_a_group_decays_otherwise() -> None:
    parameters, gradient = np.ones(N, dtype=np.float32), np.zeros(N, dtype=np.float32)
    optimizer = made(groups=[GroupConfig(match="h.weight", weight_decay=0.5)])
    optimizer.step(parameters, gradient, learning_rate=0.1, gradient_scale=1.0, n_threads=1)
    np.testing.assert_allclose(parameters[20:56], 0.95, rtol=1e-6)
    np.testing.assert_allclose(parameters[65:], 1.0 - 0.05 * 0.1, rtol=1e-6)


def test_what_is_not_finite_is_told() -> None:
    optimizer, parameters, gradient = made(), draw((N,)), draw((N,), 1)
    gradient[30] = np.nan
    assert not optimizer.step(parameters, gradient, learning_rate=0.1, gradient_scale=1.0, n_threads=1)


def test_a_state_of_something_else_is_refused() -> None:
    for name in made().state_dict():
        with pytest.raises(CheckpointError, match=name):
            made().load_state_dict({**made().state_dict(), name: "nothing"})


def test_a_run_that_was_left_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = config(tmp_path, "optimizer.name=muon", "model.family=llama")
    train(settings, tmp_path / "whole")
    leave_half_way(settings, tmp_path / "run")
    finish(config(tmp_path, "optimizer.name=muon", "model.family=llama", "train.threads=2"), tmp_path / "run")
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "whole")
    assert cllm.load(tmp_path / "run").generate("a", max_new_tokens=3, seed=1)
