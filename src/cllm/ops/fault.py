"""fault: hands its input on, but for one NaN in one batch: to see what a run does then, and what it can tell of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cllm.errors import ProgramError
from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program


def build(
    p: Program, x: str, name: str, batch: int, sequence: int, element: int, in_backward: bool = True
) -> str:
    """The NaN is element (t * C + c) of a sequence of the batch with this index, in y or, in_backward, in dx."""
    channels = p.width(x)
    if not 0 <= element < p.block_size * channels:
        raise ProgramError(name, f"element {element}", f"0 to {p.block_size * channels - 1}", "choose one of these")
    return p.append(
        "fault", name, outputs=(p.buffer(f"{name}.y", channels),), inputs=(x,),
        channels=channels, batch=batch, sequence=sequence, element=element, in_backward=int(in_backward),
    )


def insert(p: Program, batch: int, batch_size: int, in_backward: bool) -> None:
    """Put a fault before the Program's last op, in the middle of the batch with this index.

    There it moves no other op but the loss, so that random numbers, whose key has an op's place, stay what they were.
    """
    last = p.ops.pop()
    x = last.inputs[0]
    middle = p.block_size // 2 * p.width(x)
    y = build(p, x, "fault", batch, batch_size // 2, middle, in_backward)
    p.ops.append(replace(last, inputs=(y, *last.inputs[1:])))


def _faulty(call: Call, array: Array, in_backward: bool) -> Array:
    """A copy of (rows, C), with the NaN if it belongs there."""
    copied = array.copy()
    per_sequence = call.time * array.shape[1]
    place = (call["sequence"] - call.sequence) * per_sequence + call["element"]
    is_here = call.sequence <= call["sequence"] < call.sequence + array.size // per_sequence
    if is_here and call.batch == call["batch"] and in_backward == bool(call["in_backward"]):
        copied.reshape(-1)[place] = np.nan
    return copied


def forward(call: Call, x: Array) -> tuple[Array, ...]:
    return (_faulty(call, x, in_backward=False),)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array
) -> tuple[Array | None, ...]:
    return (_faulty(call, gradients[0], in_backward=True),)


FAULT = OpKind("fault", build, forward, backward, sizes=("channels", "batch", "sequence", "element", "in_backward"))
