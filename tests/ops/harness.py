"""Runs one op alone: through its float64 reference, and through its kernel with every buffer in plain sight."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cllm import kernels
from cllm.lowering import WORKER, lower
from cllm.ops import OPS
from cllm.plan import differentiable
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
    documents: tuple[int, ...] = ()  # where, in tokens of all sequences, one begins beside the sequences

    def program(self) -> Program:
        p = Program("train", self.time, self.vocab_size, OPS)
        inputs = [p.buffer(f"x{i}", width) for i, width in enumerate(self.widths)]
        self.append(p, *inputs)
        return p

    @property
    def positions(self) -> np.ndarray | None:
        """(B, T) of tokens in their documents."""
        if not self.documents:
            return None
        starts = np.union1d(self.documents, np.arange(0, self.rows, self.time))
        places = np.arange(self.rows)
        within = places - starts[np.searchsorted(starts, places, side="right") - 1]
        return within.reshape(self.n_sequences, self.time).astype(np.int32)

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
        FIRST_SEQUENCE, BATCH, SEED, case.positions,
    )
    reference.values.update({name: wide[name] for name in p.buffers if name in wide})
    reference.forward(0)
    reference.gradients.update({name: wide["d/" + name] for name in p.ops[0].outputs if name != LOSSES})
    reference.backward(0)
    results = {name: reference.values[name].reshape(case.rows, -1) for name in p.ops[0].outputs}
    results.update({"d/" + name: reference.gradients[name] for name in _wanted(p)})
    return results


def run_kernel(
    case: Case, values: dict[str, np.ndarray], n_threads: int = 1, start: dict[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """As run_reference, from the kernels. All memory is NaN beforehand; gradients named in `start` are added to."""
    return Kernels(case)(values, n_threads, start)


class Kernels:
    """The kernels of one case, lowered once; each call gives them fresh memory, and every thread one part."""

    def __init__(self, case: Case) -> None:
        self.case, self.program = case, case.program()
        self.lowered = lower(self.program, case.rows, case.time, share=False)

    def __call__(
        self, values: dict[str, np.ndarray], n_threads: int = 1, start: dict[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        memory = {name: nans(size) for name, size in self._sizes().items()}
        computed = self._views(memory["arena"], self.lowered.plan.values, memory["parameters"])
        computed[LOSSES] = memory["losses"].reshape(-1, 1)
        gradients = self._views(memory["arena"], self.lowered.plan.gradients, memory["gradient"])
        outputs, wanted = self.program.ops[0].outputs, _wanted(self.program)
        for name in values.keys() & computed.keys():
            computed[name][...] = values[name]
        for name in (name for name in outputs if name in gradients):
            gradients[name][...] = values["d/" + name]
        self._add_to({"d/" + name: gradients[name] for name in wanted}, start or {})
        self._pack(memory)
        self._run(memory, values, n_threads)
        results = {"d/" + name: gradients[name] for name in wanted} | {name: computed[name] for name in outputs}
        return {name: array.copy() for name, array in results.items()}

    def _sizes(self) -> dict[str, int]:
        n = self.program.n_parameters
        return {
            "arena": self.lowered.plan.size, "parameters": n, "gradient": n,
            "packed": max(1, self.lowered.packed_size), "losses": self.case.rows,
        }

    def _views(self, arena: np.ndarray, places: dict[str, int], parameters: np.ndarray) -> dict[str, np.ndarray]:
        views = dict(self.program.views(parameters))
        for name, place in places.items():
            size = self.program.buffers[name].size(self.case.rows)
            views[name] = arena[place:][:size].reshape(self.case.rows, -1)
        return views

    def _add_to(self, results: dict[str, np.ndarray], start: dict[str, np.ndarray]) -> None:
        self.lowered.ops["add"][0] = 0
        for name, initial in start.items():
            results[name][...] = initial
            self.lowered.ops["add"][0] |= 1 << self.program.ops[0].slots.index(name[2:])

    def _pack(self, memory: dict[str, np.ndarray]) -> None:
        packings, worker = self.lowered.packings, np.zeros(1, dtype=WORKER)
        kernels.executor.Executor(
            self.lowered.ops.ctypes.data, 1, packings.ctypes.data, len(packings), worker.ctypes.data, 1,
            self.program.n_parameters, memory["packed"].ctypes.data,
        ).pack(memory["parameters"].ctypes.data)

    def _run(self, memory: dict[str, np.ndarray], values: dict[str, np.ndarray], n_threads: int) -> None:
        arrays = [memory[name] for name in ("arena", "parameters", "packed", "gradient")]
        arrays += [values[name] for name in (TOKENS, TARGETS, WEIGHTS)] + [memory["losses"]]
        for direction in ("forward", "backward"):
            if address := int(self.lowered.ops[direction][0]):
                run_parts(address, self.lowered.ops.ctypes.data, [self._shard(arrays) for _ in range(n_threads)])

    def _shard(self, arrays: list[np.ndarray]) -> Shard:
        """One thread's record: the memory of all, in the order of op.h's spaces, and scratch of its own."""
        scratch, bases = nans(self.lowered.scratch_size), [array.ctypes.data for array in arrays]
        refused = np.zeros(1, dtype=np.int64)
        positions = self.case.positions
        shard = Shard(
            (ctypes.c_void_p * 8)(*bases), scratch.ctypes.data, 0, 0, self.case.n_sequences, self.case.time,
            positions.ctypes.data if positions is not None else 0, 0,
            FIRST_SEQUENCE, BATCH, SEED, NEVER_INTERRUPTED, None, 0, refused.ctypes.data,
        )
        shard.alive = scratch, positions, refused
        return shard


INTERRUPTED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
AGAIN = 3  # of op.h
NEVER_INTERRUPTED = INTERRUPTED(lambda shard: 0)
KERNEL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Shard(ctypes.Structure):
    """The record of op.h."""

    _fields_: ClassVar = [
        ("base", ctypes.c_void_p * 8), ("scratch", ctypes.c_void_p), ("shared", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("phase", "n_sequences", "time")), ("positions", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("first", "sequence", "batch", "seed")),
        ("interrupted", INTERRUPTED), ("step", ctypes.c_void_p), ("worker", ctypes.c_int64),
        ("refused", ctypes.c_void_p),
    ]


def run_parts(address: int, op: int, shards: list[Shard]) -> None:
    """A part for each record, all at the same moment in threads of their own: ctypes gives up the GIL.

    As long as a phase ends with AGAIN, all meet and go on to the next.
    """
    kernel, n_parts, statuses = KERNEL(address), len(shards), [AGAIN] * len(shards)
    together = threading.Barrier(n_parts)

    def run(part: int) -> None:
        shards[part].shared = shards[0].scratch
        while statuses[part] == AGAIN:
            together.wait()
            statuses[part] = kernel(op, ctypes.addressof(shards[part]), part, n_parts)
            shards[part].phase += 1

    threads = [threading.Thread(target=run, args=(part,)) for part in range(1, n_parts)]
    for thread in threads:
        thread.start()
    run(0)
    for thread in threads:
        thread.join()
    assert statuses == [0] * n_parts


def nans(n: int) -> np.ndarray:
    return np.full(n, np.nan, dtype=np.float32)


def _wanted(p: Program) -> list[str]:
    """Names that a gradient is asked of."""
    op = p.ops[0]
    return differentiable(op) + [n for n in op.parameters if n is not None]
