"""Runs one op alone through its kernel, with every buffer in plain sight and a thread for each part."""

from __future__ import annotations

import ctypes
import threading
from typing import Any, ClassVar

import numpy as np

from cllm import kernels
from cllm.kernels import at
from cllm.lowering import WORKER, lower
from cllm.program import LOSSES, TARGETS, TOKENS, WEIGHTS, Mode
from cllm.testing.opcase import BATCH, FIRST_SEQUENCE, SEED, Array, Case, Values, wanted


def run_kernel(case: Case, values: Values, n_threads: int = 1, start: Values | None = None) -> Values:
    """As run_reference, from the kernels, float32. All memory is NaN beforehand; gradients in `start` are added to."""
    return Kernels(case)(values, n_threads, start)


class Kernels:
    """The kernels of one case, lowered once; each call gives them fresh memory, and every thread one part."""

    def __init__(self, case: Case, mode: Mode = "train") -> None:
        self.case, self.program = case, case.program(mode)
        self.lowered = lower(self.program, case.rows, case.time, share=False)
        self._wanted, self._positions = wanted(self.program), case.positions

    def __call__(self, values: Values, n_threads: int = 1, start: Values | None = None, first: int = 0) -> Values:
        """first: the row to begin with, where one sequence is continued; rows of outputs before it stay NaN.

        Raises AssertionError where a part refuses, or an array that is IN is written to.
        """
        memory = {name: nans(size) for name, size in self._sizes().items()}
        computed = self._views(memory["arena"], self.lowered.plan.values, memory["parameters"])
        computed[LOSSES] = memory["losses"].reshape(-1, 1)
        gradients = self._views(memory["arena"], self.lowered.plan.gradients, memory["gradient"])
        outputs, asked = self.program.ops[0].outputs, self._wanted
        for name in values.keys() & computed.keys():
            computed[name][...] = values[name]
        for name in (name for name in outputs if name in gradients):
            gradients[name][...] = values["d/" + name]
        self._add_to({"d/" + name: gradients[name] for name in asked}, start or {})
        self._pack(memory)
        self._run(memory, values, n_threads, first)
        self._check_inputs(values, computed | {"d/" + name: gradients[name] for name in outputs if name in gradients})
        results = {"d/" + name: gradients[name] for name in asked} | {name: computed[name] for name in outputs}
        return {name: array.copy() for name, array in results.items()}

    def _check_inputs(self, values: Values, arrays: Values) -> None:
        for name in values.keys() & arrays.keys():
            same = arrays[name].tobytes() == values[name].tobytes()
            assert same, f"{self.case.name}: it writes to {name}, which is IN"

    def _sizes(self) -> dict[str, int]:
        n = self.program.n_parameters
        return {
            "arena": self.lowered.plan.size, "parameters": n, "gradient": n,
            "packed": max(1, self.lowered.packed_size), "losses": self.case.rows,
        }

    def _views(self, arena: Array, places: dict[str, int], parameters: Array) -> Values:
        views = dict(self.program.views(parameters))
        for name, place in places.items():
            size = self.program.buffers[name].size(self.case.rows)
            views[name] = arena[place:][:size].reshape(self.case.rows, -1)
        return views

    def _add_to(self, results: Values, start: Values) -> None:
        self.lowered.ops["add"][0] = 0
        for name, initial in start.items():
            results[name][...] = initial
            self.lowered.ops["add"][0] |= 1 << self.program.ops[0].slots.index(name[2:])

    def _pack(self, memory: Values) -> None:
        packings, worker = self.lowered.packings, np.zeros(1, dtype=WORKER)
        if not len(packings):
            return
        kernels.executor.Executor(
            at(self.lowered.ops), 1, at(packings), len(packings), at(worker), 1, self.program.n_parameters,
            at(memory["packed"]),
        ).pack(at(memory["parameters"]))

    def _run(self, memory: Values, values: Values, n_threads: int, first: int) -> None:
        arrays = [memory[name] for name in ("arena", "parameters", "packed", "gradient")]
        arrays += [values[name] for name in (TOKENS, TARGETS, WEIGHTS)] + [memory["losses"]]
        for direction in ("forward", "backward"):
            if address := int(self.lowered.ops[direction][0]):
                shards = [self._shard(arrays, first) for _ in range(n_threads)]
                statuses = run_parts(address, at(self.lowered.ops), shards)
                assert set(statuses) == {0}, self._refused(direction, statuses, shards)

    def _refused(self, direction: str, statuses: list[int], shards: list[Shard]) -> str:
        own = [int(shard.alive[2][0]) for shard in shards]
        return f"{self.case.name}: {direction}: its parts returned {statuses}, with statuses of their own {own}"

    def _shard(self, arrays: list[Array], first: int) -> Shard:
        """One thread's record: the memory of all, in the order of op.h's spaces, and scratch of its own."""
        scratch, refused, positions = nans(self.lowered.scratch_size), np.zeros(1, dtype=np.int64), self._positions
        shard = Shard(
            (ctypes.c_void_p * 8)(*map(at, arrays)), at(scratch), 0, 0, self.case.n_sequences, self.case.time,
            at(positions) if positions is not None else 0, first,
            FIRST_SEQUENCE, BATCH, SEED, NEVER_INTERRUPTED, None, 0, at(refused), 1, 0, None, 0, None, 0,
        )
        shard.alive = scratch, positions, refused
        return shard


INTERRUPTED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
AGAIN = 3  # of op.h
MOST_PHASES = 1000  # then an op that never comes to an end is told so
NEVER_INTERRUPTED = INTERRUPTED(lambda shard: 0)
KERNEL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Shard(ctypes.Structure):
    """The record of op.h; `alive` keeps what it points to."""

    alive: tuple[Any, ...]

    _fields_: ClassVar = [
        ("base", ctypes.c_void_p * 8), ("scratch", ctypes.c_void_p), ("shared", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("phase", "n_sequences", "time")), ("positions", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("first", "sequence", "batch", "seed")),
        ("interrupted", INTERRUPTED), ("step", ctypes.c_void_p), ("worker", ctypes.c_int64),
        ("refused", ctypes.c_void_p), ("n_together", ctypes.c_int64), ("together_step", ctypes.c_int64),
        ("apart", ctypes.c_void_p), ("n_apart", ctypes.c_int64), ("own", ctypes.c_void_p), ("own_step", ctypes.c_int64),
    ]


def run_parts(address: int, op: int, shards: list[Shard]) -> list[int]:
    """A part for each record, all at the same moment in threads of their own (ctypes gives up the GIL); statuses.

    As long as all parts of a phase end with AGAIN, all go on to the next, as far as the last of MOST_PHASES.
    """
    kernel, n_parts, statuses = KERNEL(address), len(shards), [AGAIN] * len(shards)
    together = threading.Barrier(n_parts)

    def run(part: int) -> None:
        together.wait()
        statuses[part] = kernel(op, ctypes.addressof(shards[part]), part, n_parts)

    for _ in range(MOST_PHASES):
        threads = [threading.Thread(target=run, args=(part,)) for part in range(1, n_parts)]
        for shard in shards:
            shard.shared = shards[0].scratch
        for thread in threads:
            thread.start()
        run(0)
        for thread in threads:
            thread.join()
        for shard in shards:
            shard.phase += 1
        if set(statuses) != {AGAIN}:
            break
    return statuses


def nans(n: int) -> Array:
    return np.full(n, np.nan, dtype=np.float32)
