"""Lowers a Program to the C records that the executors walk: function pointers, buffer offsets, sizes.

The layouts are those of _kernels/op.h and _kernels/step.pxd; sizes are compared at import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm import kernels
from cllm.errors import ProgramError
from cllm.opened import OpenedOp
from cllm.plan import Plan, differentiable, plan
from cllm.program import LOSSES, TARGETS, TOKENS, WEIGHTS, Op, Program
from cllm.ranges import NOWHERE, parameter_ranges, rooms_in_total
from cllm.reduction import most_held

MAX_SLOTS, MAX_SIZES, MAX_NUMBERS = 10, 8, 4
ACTIVATIONS, PARAMETERS, PACKED, GRADIENT = 0, 1, 2, 3
EXTERNAL_SPACES = {TOKENS: 4, TARGETS: 5, WEIGHTS: 6, LOSSES: 7}

_SLOT = np.dtype([("space", np.int64), ("offset", np.int64)])
_OP = np.dtype(
    [
        ("forward", np.uint64), ("backward", np.uint64), ("id", np.int64), ("add", np.int64),
        ("value", _SLOT, MAX_SLOTS), ("gradient", _SLOT, MAX_SLOTS),
        ("packed", _SLOT, MAX_SLOTS), ("transposed", _SLOT, MAX_SLOTS),
        ("size", np.int64, MAX_SIZES), ("number", np.float64, MAX_NUMBERS),
        ("foreign", np.uint64), ("n_slots", np.int64), ("together", np.int64),
    ]
)
_PACKING = np.dtype(
    [
        (f, np.int64)
        for f in ("source", "target", "depth", "columns", "depth_step", "column_step", "pairs", "op", "backward")
    ]
)
_RANGE = np.dtype([(f, np.int64) for f in ("first", "last", "use", "row", "room")])
WORKER = np.dtype(
    [
        ("arena", np.uint64), ("scratch", np.uint64), ("buffers", np.uint64), ("arena_step", np.int64),
        ("room", np.uint64), ("first_shard", np.int64), ("last_shard", np.int64), ("status", np.int64),
        ("op", np.int64), ("events", np.uint64), ("n_events", np.int64), ("max_events", np.int64), ("leader", np.int64),
        ("member", np.int64), ("n_members", np.int64), ("n_parts", np.int64), ("waited", np.float64),
        ("dice", np.uint64), ("doing", np.int64), ("shard", np.int64), ("waits", np.int64), ("unused", np.int64, 3),
    ]
)
EVENT = np.dtype([("what", np.int64), ("shard", np.int64), ("begin", np.float64), ("end", np.float64)])
assert (_OP.itemsize, _PACKING.itemsize, WORKER.itemsize, EVENT.itemsize, _RANGE.itemsize) == (
    kernels.executor.OP_SIZE, kernels.executor.PACKING_SIZE, kernels.executor.WORKER_SIZE,
    kernels.executor.EVENT_SIZE, kernels.executor.RANGE_SIZE,
)


@dataclass(frozen=True)
class Sizes:
    """The memory in which a Program runs, in float32 elements."""

    arena: int  # of each thread that works, as `scratch`
    scratch: int
    packed: int  # all panels, once; in lockstep, those of the op that has most


@dataclass(frozen=True)
class Lowered:
    """A Program for shards of up to `rows` tokens, ready for the executors."""

    program: Program
    plan: Plan
    ops: NDArray[Any]  # records of op.h
    packings: NDArray[Any]  # which matrices become panels
    packed_size: int  # float32 elements of all panels
    scratch_size: int  # float32 elements a thread
    ranges: NDArray[Any] | None = None  # of each op, where its gradients can be merged by themselves
    lockstep: bool = False  # every op runs for all shards before the next
    opened: tuple[OpenedOp | None, ...] = ()  # of each op, whose code it is; None: cllm's own

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.plan.size, self.scratch_size, self.packed_size)

    def refusal(self, op: int, status: int) -> Exception:
        """The error that a status of this op's own stands for."""
        code = self.opened[op]
        assert code is not None
        return code.refusal(status)


def sizes(program: Program, rows: int, time: int, lockstep: int = 0) -> Sizes:
    """The sizes of `lower`, of whatever length: nothing is written to records, whose numbers have 64 bits."""
    panels = _Panels(program, lockstep > 0)
    for index, op in enumerate(program.ops):
        panels.pack(index, op)
    return Sizes(plan(program, rows).size, _scratch_size(program, time), panels.size)


def lower(program: Program, rows: int, time: int, share: bool = True, lockstep: int = 0) -> Lowered:
    """Choose addresses and kernels for every op; `share` lets buffers take each other's memory.

    lockstep: how many shards there are if every op runs for all of them before the next; panels are then made for one
    op after the other.
    """
    memory = plan(program, rows, share)
    panels = _Panels(program, lockstep > 0)
    symbols, opened = kernels.op_kernels(), _opened(program)
    records = np.zeros(len(program.ops), dtype=_OP)
    for table in ("value", "gradient", "packed", "transposed"):
        records[table]["space"] = NOWHERE
    for index, op in enumerate(program.ops):
        record = records[index]
        record["id"] = index
        record["n_slots"], record["together"] = len(op.slots), op.kind.together
        if (code := opened[index]) is None:
            record["forward"], record["backward"] = _kernels_of(op, program, symbols)
        else:
            record["foreign"] = code.address
            for direction, address in kernels.foreign_kernels().items():
                record[direction] = address if direction in _directions(op, program) else 0
        record["size"][: len(op.kind.sizes)] = [op.attributes[name] for name in op.kind.sizes]
        record["number"][: len(op.kind.numbers)] = [op.attributes[name] for name in op.kind.numbers]
        _place_values(record, op, program, memory)
        if program.mode == "train":
            _place_gradients(record, op, program, memory)
        for table, place in zip(("packed", "transposed"), panels.pack(index, op), strict=False):
            record[table][op.kind.matrix] = (PACKED, place)
    _mark_additions(records, program)
    return Lowered(
        program, memory, records, panels.packings(), panels.size, _scratch_size(program, time),
        _ranges(program, lockstep), lockstep > 0, tuple(opened),
    )


def _scratch_size(program: Program, time: int) -> int:
    return max(op.kind.scratch(op.attributes, time) for op in program.ops)


def _opened(program: Program) -> list[OpenedOp | None]:
    """Of each op whose kernel another package brings, its code; what several ops share is opened once."""
    opened: dict[int, OpenedOp] = {}
    for op in program.ops:
        part = op.kind.compiled
        if part is not None and id(part) not in opened:
            opened[id(part)] = OpenedOp(part, f"op {op.kind.name}")
            _refuse_missing(op, opened[id(part)].directions, program)
    return [None if op.kind.compiled is None else opened[id(op.kind.compiled)] for op in program.ops]


def _refuse_missing(op: Op, there: tuple[str, ...], program: Program) -> None:
    for direction in _directions(op, program):
        if direction not in there:
            raise ProgramError(op.name, f"no {direction} of {op.kind.name}", "a compiled one", "see cllm/kernel_abi.h")


def _directions(op: Op, program: Program) -> tuple[str, ...]:
    """In which an op of this Program has something to compute."""
    training = program.mode == "train"
    forward = ("forward",) * (not (training and op.kind.backward_does_forward))
    return forward + ("backward",) * (training and op.kind.backward is not None)


def _kernels_of(op: Op, program: Program, symbols: dict[str, int]) -> tuple[int, int]:
    wanted = {direction: f"{op.kind.name}_{direction}" for direction in _directions(op, program)}
    for symbol in wanted.values():
        if symbol not in symbols:
            raise ProgramError(op.name, f"no kernel {symbol!r}", "a compiled kernel", "build it or drop the op")
    forward, backward = (symbols[wanted[way]] if way in wanted else 0 for way in ("forward", "backward"))
    return forward, backward


def _place_values(record: Any, op: Op, program: Program, memory: Plan) -> None:
    for slot, name in enumerate(op.slots):
        if name in EXTERNAL_SPACES:
            record["value"][slot] = (EXTERNAL_SPACES[name], 0)
        elif name in memory.values:
            record["value"][slot] = (ACTIVATIONS, memory.values[name])
        elif name is not None:
            record["value"][slot] = (PARAMETERS, program.table[name].offset)


def _place_gradients(record: Any, op: Op, program: Program, memory: Plan) -> None:
    for slot, name in enumerate(op.slots):
        if name in memory.gradients and (name in op.outputs or name in differentiable(op)):
            record["gradient"][slot] = (ACTIVATIONS, memory.gradients[name])
        elif name in program.table and program.table[name].trainable:
            record["gradient"][slot] = (GRADIENT, program.table[name].offset)


def _mark_additions(records: NDArray[Any], program: Program) -> None:
    """Walking backward, the first op that writes a gradient sets it and all later ones add to it."""
    written: set[str] = set()
    for index in reversed(range(len(program.ops))):
        op = program.ops[index]
        n_results = len(op.outputs) + len(op.saved)
        for slot, name in enumerate(op.slots):
            if slot < n_results or name is None or records[index]["gradient"][slot]["space"] == NOWHERE:
                continue
            if name in written:
                records[index]["add"] |= 1 << slot
            written.add(name)


def _ranges(program: Program, lockstep: int) -> NDArray[Any] | None:
    ranges = parameter_ranges(program) if program.mode == "train" else None
    if ranges is None:
        return None
    records = np.zeros(len(ranges), dtype=_RANGE)
    for field in ("first", "last", "use", "row"):
        records[field] = [getattr(range_, field) for range_ in ranges]
    records["room"] = NOWHERE
    if lockstep:
        records["room"] = rooms_in_total(ranges, most_held(0, lockstep) - 1, program.n_trainable)
    return records


class _Panels:
    """Where each matrix lies in panels, in the forward product's orientation and in the backward's."""

    def __init__(self, program: Program, lockstep: bool = False) -> None:
        self.size = 0
        self._program, self._lockstep = program, lockstep
        self._places: dict[tuple[str, bool, bool], int] = {}
        self._packings: list[tuple[int, ...]] = []

    def pack(self, index: int, op: Op) -> list[int]:
        """Where an op's matrix lies: for its forward and, in training, its backward; nowhere if it has none."""
        if op.kind.matrix is None:
            return []
        if self._lockstep:
            return self._pack_for_itself(index, op)
        name, depth_is_rows = op.slots[op.kind.matrix], op.kind.depth_is_rows
        assert name is not None
        orientations = (depth_is_rows, not depth_is_rows) if self._program.mode == "train" else (depth_is_rows,)
        return [self._pack(name, orientation, op.kind.pairs) for orientation in orientations]

    def _pack_for_itself(self, index: int, op: Op) -> list[int]:
        """From the beginning of all room: when the op's turn comes, no other op's panels are needed."""
        name = op.slots[op.kind.matrix or 0]
        assert name is not None
        forward = self._program.mode == "train" and op.kind.backward_does_forward
        middle = self._place(name, op.kind.depth_is_rows, op.kind.pairs, 0, index, forward)
        end = self._place(name, not op.kind.depth_is_rows, op.kind.pairs, middle, index, True)
        self.size = max(self.size, end)
        return [0, middle]

    def _pack(self, name: str, depth_is_rows: bool, pairs: bool) -> int:
        key = name, depth_is_rows, pairs
        if key not in self._places:
            self._places[key] = self.size
            self.size = self._place(name, depth_is_rows, pairs, self.size, -1, False)
        return self._places[key]

    def _place(self, name: str, depth_is_rows: bool, pairs: bool, place: int, op: int, backward: bool) -> int:
        """Note one packing; returns where it ends."""
        parameter = self._program.table[name]
        rows, columns = parameter.shape
        orientation = (rows, columns, columns, 1) if depth_is_rows else (columns, rows, 1, columns)
        self._packings.append((parameter.offset, place, *orientation, int(pairs), op, int(backward)))
        width = kernels.executor.TILE_COLUMNS
        depth = -(-orientation[0] // 2) if pairs else orientation[0]  # a pair takes as much as a float32
        return place + depth * (-(-orientation[1] // width) * width)

    def packings(self) -> NDArray[Any]:
        return np.array(self._packings, dtype=_PACKING)
