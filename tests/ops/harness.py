"""Runs one op alone: through its float64 reference, and through its kernel with every buffer in plain sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cllm import kernels
from cllm.lowering import WORKER, lower
from cllm.ops import OPS
from cllm.program import LOSSES, TARGETS, TOKENS, WEIGHTS, Program
from cllm.reference import Reference

SEED, BATCH, FIRST_SEQUENCE = 7, 3, 0


@dataclass(frozen=True)
class Case:
    """An op with sizes: widths of the buffers it reads, and how it is appended to a Program."""

    name: str
    widths: tuple[int, ...]
    append: Callable[..., str]  # (program, *input names) -> output
    n_sequences: int = 2
    time: int = 5
    vocab_size: int = 11
    extra: dict[str, Any] = field(default_factory=dict)

    def program(self) -> Program:
        p = Program("train", self.time, self.vocab_size, OPS)
        inputs = [p.buffer(f"x{i}", width) for i, width in enumerate(self.widths)]
        self.append(p, *inputs)
        return p

    @property
    def rows(self) -> int:
        return self.n_sequences * self.time


def draw(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs, parameters, the gradient that comes in, tokens, targets (one not counted) and weights."""
    generator, p = np.random.default_rng(seed), case.program()
    values: dict[str, np.ndarray] = {
        f"x{i}": generator.standard_normal((case.rows, w)).astype(np.float32) for i, w in enumerate(case.widths)
    }
    for parameter in p.parameters:
        values[parameter.name] = generator.standard_normal(parameter.shape).astype(np.float32)
    for name in p.ops[0].outputs:
        if name != LOSSES:
            values["d/" + name] = generator.standard_normal((case.rows, p.width(name))).astype(np.float32)
    values[TOKENS] = generator.integers(0, case.vocab_size, (case.n_sequences, case.time)).astype(np.int32)
    values[TARGETS] = generator.integers(0, case.vocab_size, (case.n_sequences, case.time)).astype(np.int32)
    if case.rows > 1:
        values[TARGETS].reshape(-1)[case.rows // 2] = -1
    values[WEIGHTS] = generator.uniform(0.5, 1.5, (case.n_sequences, case.time)).astype(np.float32)
    return values


def run_reference(case: Case, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs under their names, gradients as "d/" + name, all float64."""
    p = case.program()
    wide = {name: v.astype(np.float64) if v.dtype == np.float32 else v for name, v in values.items()}
    reference = Reference(
        p, {q.name: wide[q.name] for q in p.parameters}, wide[TOKENS], wide[TARGETS], wide[WEIGHTS],
        FIRST_SEQUENCE, BATCH, SEED,
    )
    reference.values.update({name: wide[name] for name in p.buffers if name in wide})
    reference.forward(0)
    reference.gradients.update({name: wide["d/" + name] for name in p.ops[0].outputs if name != LOSSES})
    reference.backward(0)
    results = {name: reference.values[name].reshape(case.rows, -1) for name in p.ops[0].outputs}
    results.update({"d/" + name: reference.gradients[name] for name in _wanted(p)})
    return results


def run_kernel(
    case: Case, values: dict[str, np.ndarray], n_parts: int = 1, start: dict[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """As run_reference, from the kernels. All memory is NaN beforehand; gradients named in `start` are added to."""
    p = case.program()
    lowered = lower(p, case.rows, case.time, share=False)
    arena = np.full(lowered.plan.size, np.nan, dtype=np.float32)
    parameters = np.empty(p.n_parameters, dtype=np.float32)
    gradient = np.full(p.n_parameters, np.nan, dtype=np.float32)
    views, gradient_views = dict(p.views(parameters)), dict(p.views(gradient))
    for q in p.parameters:
        views[q.name][...] = values[q.name]

    def buffer(table: dict[str, int], name: str) -> np.ndarray:
        return arena[table[name] :][: p.buffers[name].size(case.rows)].reshape(case.rows, -1)

    for name in p.buffers:
        if name in values:
            buffer(lowered.plan.values, name)[...] = values[name]
    for name in p.ops[0].outputs:
        if name != LOSSES:
            buffer(lowered.plan.gradients, name)[...] = values["d/" + name]
    results = {
        "d/" + n: buffer(lowered.plan.gradients, n) if n in p.buffers else gradient_views[n] for n in _wanted(p)
    }
    for name, initial in (start or {}).items():
        results[name][...] = initial
        lowered.ops["add"][0] |= 1 << p.ops[0].slots.index(name[2:])

    losses = np.full((case.n_sequences, case.time), np.nan, dtype=np.float32)
    executor, keep = _executor(case, values, lowered, arena, p.n_parameters, losses)
    executor.pack(parameters.ctypes.data)
    for backward in (False, True):
        assert executor.run_one(0, backward, 0, gradient.ctypes.data, n_parts) == 0
    del keep
    for name in p.ops[0].outputs:
        results[name] = losses.reshape(case.rows, 1) if name == LOSSES else buffer(lowered.plan.values, name)
    return {name: array.copy() for name, array in results.items()}


def _wanted(p: Program) -> list[str]:
    """Names that a gradient is asked of."""
    op = p.ops[0]
    return [n for n in op.inputs if n in p.buffers] + [n for n in op.parameters if n is not None]


def _executor(case: Case, values: dict[str, np.ndarray], lowered: Any, arena: np.ndarray, n: int, losses: np.ndarray):
    workers = np.zeros(1, dtype=WORKER)
    scratch = np.full(lowered.scratch_size, np.nan, dtype=np.float32)
    packed = np.full(max(1, lowered.packed_size), np.nan, dtype=np.float32)
    sequence = np.array([0, case.n_sequences], dtype=np.int64)
    sums = np.zeros((2, 1))
    workers["arena"], workers["scratch"] = arena.ctypes.data, scratch.ctypes.data
    executor = kernels.executor.Executor(
        lowered.ops.ctypes.data, 1, lowered.packings.ctypes.data, len(lowered.packings), workers.ctypes.data, 1,
        n, packed.ctypes.data,
    )
    executor.set_batch(
        *(values[name].ctypes.data for name in (TOKENS, TARGETS, WEIGHTS)), losses.ctypes.data, sequence.ctypes.data,
        sums[0].ctypes.data, sums[1].ctypes.data, case.time, 0, BATCH, SEED,
    )
    return executor, (workers, scratch, packed, sequence, sums)
