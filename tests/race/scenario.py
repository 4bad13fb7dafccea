"""Every way in which threads share work, in all executors, against golden digests: what a race build and mutants run.

    python -m tests.race.scenario

It ends with 1 at the first wrong bit, and says where. Models are as small as they can be and still have, of everything
that threads share, more than one part: panels, heads, rows, chunks of the loss, shards and levels of the tree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cllm import kernels
from cllm.disorder import EXECUTORS
from cllm.engine import Engine
from cllm.errors import DataError
from cllm.models.gpt2 import build
from cllm.program import Parameter
from tests.models import CONFIGS, Tree, a_batch, a_model, digest, shape
from tests.sharing import ALONE, WAYS
from tests.test_golden import GRADIENTS

# Model, its changes, sequences of a batch and of a shard: an odd tree; and a shard whose loss takes three chunks.
MORE: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("plain", {"n_layer": 1}, 7, 1), ("odd", {"n_layer": 1, "vocab_size": 1009}, 7, 1),
    ("plain", {"n_layer": 1, "block_size": 128, "vocab_size": 70}, 5, 5),
    ("bf16", {"n_layer": 1, "block_size": 128, "vocab_size": 70}, 5, 5),
)


def gradients() -> Iterator[str]:
    for name in CONFIGS:
        yield from _compared(name, {}, 5, None, GRADIENTS[name])
    for name, changes, batch_size, micro in MORE:
        program, parameters = a_model(name, **changes)
        alone = ALONE.engine(program, batch_size, micro_batch_size=micro)
        expected = digest(alone.gradient(parameters, a_batch(program, batch_size), Tree()).gradient)
        yield from _compared(name, changes, batch_size, micro, expected)


def _compared(name: str, changes: dict[str, Any], batch_size: int, micro: int | None, expected: str) -> Iterator[str]:
    program, parameters = a_model(name, **changes)
    batch = a_batch(program, batch_size)
    for way in WAYS:
        for executor in EXECUTORS if way.n_threads > 1 else EXECUTORS[:1]:
            engine = way.engine(program, batch_size, executor, micro_batch_size=micro)
            if digest(engine.gradient(parameters, batch, way.reducer).gradient) != expected:
                yield f"the gradient of {name}, {changes}, {way}, {executor}"


def evaluations() -> Iterator[str]:
    program, parameters = build(shape(), "evaluate"), a_model("plain")[1]
    batches = [a_batch(program, 5, n) for n in range(2)]
    expected = Engine(program, 5, 1).losses(parameters, batches)
    for n_threads, each in ((2, 1), (4, 2), (3, 3)):
        for executor in EXECUTORS:
            engine = Engine(program, 5, n_threads, threads_per_shard=each, executor=executor)
            if engine.losses(parameters, batches) != expected:
                yield f"the losses, {n_threads} threads, {executor}"


def refusals() -> Iterator[str]:
    """A step that ends early for all, and the one after it."""
    program, parameters = a_model("plain")
    right, wrong = a_batch(program, 5), a_batch(program, 5)
    wrong.inputs[2, 3] = program.vocab_size
    for way in WAYS:
        engine = way.engine(program, 5, "adversarial")
        try:
            engine.gradient(parameters, wrong, way.reducer)
            yield f"a wrong token is not refused, {way}"
        except DataError:
            pass
        if digest(engine.gradient(parameters, right, way.reducer).gradient) != GRADIENTS["plain"]:
            yield f"the gradient after a refusal, {way}"


def _numbers(n: int, name: str) -> np.ndarray:
    out = np.empty(n, dtype=np.float32)
    kernels.normal(out, 1.0, 5, name)
    return out


def _update(method: str, n_threads: int) -> np.ndarray:
    table = [Parameter("a", (33, 7), 0, decay=True), Parameter("b", (1000,), 231)]
    p, g, m, v = (_numbers(1231, name) for name in "pgmv")
    runs, v = kernels.segments(table, 0.1), np.abs(v)
    if method == "adamw":
        kernels.adamw(
            p, g, m, v, runs, learning_rate=1e-3, betas=(0.9, 0.95), epsilon=1e-8, corrections=(0.1, 0.05),
            gradient_scale=0.3, n_threads=n_threads,
        )
    else:
        kernels.sgd(p, g, m, runs, learning_rate=1e-3, momentum=0.9, gradient_scale=0.3, n_threads=n_threads)
    return np.concatenate([p, m, v])


def _norm(n_threads: int) -> np.ndarray:
    norms = kernels.Norms([Parameter("a", (40, 150), 0), Parameter("b", (700,), 6000)])
    return np.array(norms.compute(_numbers(6700, "g"), n_threads))


def _scaled(n_threads: int) -> np.ndarray:
    x = _numbers(1231, "x")
    kernels.scale(x, 0.1, n_threads)
    return x


def _drawn(n_threads: int) -> np.ndarray:
    out = np.empty(1231, dtype=np.float32)
    kernels.normal(out, 1.0, 5, "x", n_threads)
    return out


PASSES: dict[str, Callable[[int], np.ndarray]] = {
    "adamw": lambda n: _update("adamw", n), "sgd": lambda n: _update("sgd", n), "norm": _norm, "scale": _scaled,
    "normal": _drawn,
}


def passes() -> Iterator[str]:
    """Over parameters, outside the executor."""
    for name, run in PASSES.items():
        for n_threads in (2, 3, 4):
            if digest(run(n_threads)) != digest(run(1)):
                yield f"{name}, {n_threads} threads"


PARTS = (gradients, evaluations, refusals, passes)


def main() -> int:
    wrong = next((what for part in PARTS for what in part()), None)
    print(f"other bits: {wrong}" if wrong else "all bits are right")
    return int(wrong is not None)


if __name__ == "__main__":
    sys.exit(main())
