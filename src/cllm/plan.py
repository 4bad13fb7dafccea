"""Where the buffers of a Program lie in a thread's arena: memory is given to another buffer as soon as it is free.

Time counts the ops of a shard, forward 0 .. n-1 and then backward n .. 2n-1. No bit depends on the plan, and
without sharing every buffer has memory of its own, so that a probe can look at all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cllm.program import EXTERNAL, Op, Program

ALIGNMENT = 16  # elements: a cache line


@dataclass
class Interval:
    """Memory for one or more buffers, in use from `begin` to `end`."""

    size: int
    begin: int
    end: int
    offset: int = 0


@dataclass(frozen=True)
class Plan:
    """Offsets in float32 elements into an arena of `size`."""

    values: dict[str, int]
    gradients: dict[str, int]
    size: int


def plan(program: Program, rows: int, share: bool = True) -> Plan:
    """The plan for shards of up to `rows` tokens."""
    lives = _value_lives(program)
    values = {name: Interval(_round(b.size(rows)), *lives[name]) for name, b in program.buffers.items()}
    gradients: dict[str, Interval] = {}
    if program.mode == "train":
        gradients = {name: Interval(values[name].size, *life) for name, life in _gradient_lives(program).items()}
        if share:
            _let_through(program, gradients)
    intervals = list({id(i): i for i in (*values.values(), *gradients.values())}.values())
    if not share or program.mode == "decode":
        for interval in intervals:
            interval.begin, interval.end = 0, 2 * len(program.ops)
    size = _place(intervals)
    return Plan(
        {name: i.offset for name, i in values.items()}, {name: i.offset for name, i in gradients.items()}, size
    )


def _round(n: int) -> int:
    return (n + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def _backward_time(program: Program, index: int) -> int:
    return 2 * len(program.ops) - 1 - index


def _value_lives(program: Program) -> dict[str, tuple[int, int]]:
    """From the op that writes a value to the last that reads it, forward or backward."""
    lives = dict.fromkeys(program.buffers, (0, 0))
    for index, op in enumerate(program.ops):
        for name in (*op.outputs, *op.saved):
            if name in lives:
                lives[name] = (index, index)
        readers = [(name, index) for name in op.inputs]
        if program.mode == "train":
            readers += [(op.slots[slot] or "", _backward_time(program, index)) for slot in op.kind.reads]
        for name, time in readers:
            if name in lives:
                lives[name] = (lives[name][0], max(lives[name][1], time))
    return lives


def _gradient_lives(program: Program) -> dict[str, tuple[int, int]]:
    """From the first backward that adds to it, its last reader's, to that of the op which wrote the value."""
    lives: dict[str, tuple[int, int]] = {}
    for index, op in enumerate(program.ops):
        for name in differentiable(op):
            written_at = lives.get(name, (0, 2 * len(program.ops)))[1]  # an input of the Program: never
            lives[name] = (_backward_time(program, index), written_at)
        for name in op.outputs:
            if name not in EXTERNAL and op.kind.backward is not None:
                lives[name] = (0, _backward_time(program, index))
    return lives


def differentiable(op: Op) -> list[str]:
    """The inputs that a gradient flows back to."""
    first = len(op.outputs) + len(op.saved)
    slots = enumerate(op.inputs, first)
    return [name for slot, name in slots if name not in EXTERNAL and slot not in op.kind.constants]


def _let_through(program: Program, gradients: dict[str, Interval]) -> None:
    """An op such as `add` hands its gradient on unchanged: input and output may share one memory.

    That holds for an input whose gradient begins at this op. Two inputs may share it too, if the second is
    read for the last time before anything else is added to the first.
    """
    for index in reversed(range(len(program.ops))):
        op, now = program.ops[index], _backward_time(program, index)
        if not op.kind.passes:
            continue
        shared = gradients[op.outputs[0]]
        busy_until = 2 * len(program.ops)
        for name in (op.slots[slot] for slot in op.kind.passes):
            assert name is not None
            own = gradients[name]
            if own.begin == now and own.end < busy_until:
                busy_until = min(busy_until, _next_addition(program, name, now))
                shared.end = max(shared.end, own.end)
                for other in [n for n, interval in gradients.items() if interval is own]:
                    gradients[other] = shared


def _next_addition(program: Program, name: str, now: int) -> int:
    """When, after `now`, another reader of `name` adds to its gradient; its own end where none does."""
    times = [_backward_time(program, i) for i, op in enumerate(program.ops) if name in (*op.inputs, *op.outputs)]
    return min(time for time in times if time > now)


def _place(intervals: list[Interval]) -> int:
    """First fit, the largest first; returns the size of the arena."""
    placed: list[Interval] = []
    for interval in sorted(intervals, key=lambda i: -i.size):
        rivals = sorted(
            (p for p in placed if p.begin <= interval.end and interval.begin <= p.end), key=lambda p: p.offset
        )
        offset = 0
        for rival in rivals:
            if offset + interval.size <= rival.offset:
                break
            offset = max(offset, rival.offset + rival.size)
        interval.offset = offset
        placed.append(interval)
    return max((i.offset + i.size for i in placed), default=0)
