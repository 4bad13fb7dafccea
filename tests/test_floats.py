"""Numerics rule 7: a thread that flushes subnormals, or rounds upward, computes the same bits; its setting stays."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm import kernels
from cllm.builtin.reducers import OrderedReducer
from cllm.engine import Engine
from cllm.evaluate import evaluate
from cllm.floats import standard_floats
from cllm.models.gpt2 import build
from cllm.program import Parameter
from cllm.sampling import Sampling, choose
from tests.models import FoldInPython, Tree, a_batch, a_model, digest, shape
from tests.runs import config, digest_of, train
from tests.test_golden import OVERRIDES, RUNS

# Of C's fenv_t in glibc: the word of its control register, and the bits for flushing and for rounding upward.
PLACES = {"x86_64": (7, 0x8040, 0x4000), "aarch64": (0, 1 << 24, 1 << 22)}

pytestmark = pytest.mark.skipif(
    platform.machine() not in PLACES or platform.libc_ver()[0] != "glibc", reason="a fenv_t that is not known"
)
SETTINGS = ["flushing", "upward"]


@contextmanager
def setting(name: str) -> Iterator[None]:
    """What a library built with fast-math, or a careless one, leaves behind in this thread."""
    word, flushing, upward = PLACES[platform.machine()]
    library, before, changed = ctypes.CDLL(None), (ctypes.c_uint32 * 64)(), (ctypes.c_uint32 * 64)()
    library.fegetenv(before)
    library.fegetenv(changed)
    changed[word] |= flushing if name == "flushing" else upward
    library.fesetenv(changed)
    try:
        yield
    finally:
        library.fesetenv(before)


ONE, THREE, SMALL = 1.0, 3.0, 1e-300  # names, because the compiler folds constants


def is_on(name: str) -> bool:
    return SMALL * 1e-10 == 0.0 if name == "flushing" else ONE / THREE > 0.3333333333333333


@pytest.mark.parametrize("name", SETTINGS)
def test_the_setting_is_left_and_comes_back(name: str) -> None:
    assert not is_on(name)
    with setting(name):
        assert is_on(name)
        with standard_floats():
            assert not is_on(name)
        assert is_on(name)
        with pytest.raises(ValueError), standard_floats():
            raise ValueError
        assert is_on(name)


def random(n: int, deviation: float = 1.0) -> np.ndarray:
    out = np.empty(n, dtype=np.float32)
    kernels.normal(out, deviation, 5, "test")
    return out


def added() -> np.ndarray:
    left = random(101)
    kernels.add(left, random(202)[101:])
    return left


def added_subnormals() -> np.ndarray:
    left = random(101, 1e-40)
    kernels.add(left, left.copy())
    return left


def summed_in_order(deviation: float) -> np.ndarray:
    out = np.empty(101, dtype=np.float32)
    kernels.ordered_sum(out, random(505, deviation).reshape(5, 101))
    return out


def scaled() -> np.ndarray:
    x = random(101)
    kernels.scale(x, 0.1, 2)
    return x


def updated(method: str) -> np.ndarray:
    table = [Parameter("w", (101,), 0, decay=True)]
    p, g, m, v = random(101), random(101, 1e-3), random(101, 1e-3), np.abs(random(101))
    runs = kernels.segments(table, 0.1)
    if method == "adamw":
        kernels.adamw(
            p, g, m, v, runs, learning_rate=1e-3, betas=(0.9, 0.95), epsilon=1e-8, corrections=(0.1, 0.05),
            gradient_scale=0.3, n_threads=2,
        )
    else:
        kernels.sgd(p, g, m, runs, learning_rate=1e-3, momentum=0.9, gradient_scale=0.3, n_threads=2)
    return np.concatenate([p, m, v])


def norm(deviation: float) -> np.ndarray:
    return np.array(kernels.Norms([Parameter("w", (7, 13), 0)]).compute(random(91, deviation), 2))


DOORS: dict[str, Callable[[], np.ndarray]] = {
    "add": added,
    "add, subnormals": added_subnormals,
    "ordered_sum": lambda: summed_in_order(1.0),
    "ordered_sum, subnormals": lambda: summed_in_order(1e-40),
    "scale": scaled,
    "adamw": lambda: updated("adamw"),
    "sgd": lambda: updated("sgd"),
    "norm": lambda: norm(1.0),
    "norm, subnormals": lambda: norm(1e-22),
    "count_nonfinite": lambda: np.array(kernels.count_nonfinite(random(101, 1e-40))),
    "exp64": lambda: np.array([kernels.exp64(float(x)) for x in range(-700, 700)]),
    "map_float32": lambda: kernels.map_float32("exp", random(101)),
    "choose": lambda: np.array([choose(random(101), Sampling(0.7, seed=2), n) for n in range(50)]),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_computes_the_same(door: str, name: str) -> None:
    expected = DOORS[door]().tobytes()
    with setting(name):
        found = DOORS[door]().tobytes()
    assert found == expected


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("weight", [1.0, 1e-37], ids=["usual", "subnormal gradients"])
@pytest.mark.parametrize("reducer", [Tree(), FoldInPython(), OrderedReducer()], ids=lambda r: type(r).__name__)
def test_a_gradient_is_the_same(reducer: Any, weight: float, name: str) -> None:
    program, parameters = a_model("dropout")
    batch = a_batch(program, 7)
    batch.weights *= np.float32(weight / 3.0)

    def outcome() -> tuple[Any, ...]:
        result = Engine(program, 7, 2, micro_batch_size=1, seed=7).gradient(parameters, batch, reducer)
        return digest(result.gradient), result.loss, result.weight_sum, result.shard_losses

    expected = outcome()
    with setting(name):
        found = outcome()
    assert found == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_an_evaluation_is_the_same(name: str) -> None:
    _, parameters = a_model("plain")
    program = build(shape(), "evaluate")
    batches = [a_batch(program, 5, n) for n in range(3)]
    expected = evaluate(Engine(program, 5, 2), parameters, batches)
    with setting(name):
        found = evaluate(Engine(program, 5, 2), parameters, batches)
    assert found == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_is_the_same(name: str, tmp_path: Path) -> None:
    settings = config(tmp_path, OVERRIDES["plain"], "train.threads=2")
    with setting(name):
        train(settings, tmp_path / "run")
    assert digest_of(tmp_path / "run") == RUNS["plain"]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_model_is_loaded_and_writes_the_same(name: str, tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    expected = cllm.load(tmp_path / "run").generate("The", 20, seed=4)
    with setting(name):
        found = cllm.load(tmp_path / "run").generate("The", 20, seed=4)
    assert found == expected
