"""embedding: a learned row for each token id."""

from __future__ import annotations

import numpy as np

from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program


def build(p: Program, tokens: str, name: str, channels: int, deviation: float = 0.02) -> str:
    table = p.parameter(f"{name}.weight", (p.vocab_size, channels), deviation=deviation, decay=True)
    return p.append(
        "embedding", name, outputs=(p.buffer(f"{name}.y", channels),), inputs=(tokens,), parameters=(table,),
        channels=channels, rows=p.vocab_size,
    )


def forward(call: Call, tokens: Array, table: Array) -> tuple[Array, ...]:
    return (table[tokens],)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], tokens: Array, table: Array
) -> tuple[Array | None, ...]:
    dtable = np.zeros_like(table)
    np.add.at(dtable, tokens, gradients[0])
    return None, dtable


EMBEDDING = OpKind("embedding", build, forward, backward, sizes=("channels", "rows"), scatters=True)
