"""position: adds a learned row for each place in the sequence, or in the document where these are told apart."""

from __future__ import annotations

import numpy as np

from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program


def build(p: Program, x: str, name: str, deviation: float = 0.02) -> str:
    channels = p.width(x)
    table = p.parameter(f"{name}.weight", (p.block_size, channels), deviation=deviation, decay=True)
    return p.append(
        "position", name, outputs=(p.buffer(f"{name}.y", channels),), inputs=(x,), parameters=(table,),
        channels=channels, rows=p.block_size,
    )


def forward(call: Call, x: Array, table: Array) -> tuple[Array, ...]:
    return (x + table[call.positions_of(len(x))],)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, table: Array
) -> tuple[Array | None, ...]:
    (dy,) = gradients
    dtable = np.zeros_like(table)
    np.add.at(dtable, call.positions_of(len(x)), dy)
    return dy, dtable


POSITION = OpKind("position", build, forward, backward, sizes=("channels", "rows"), passes=(1,))
