"""rotary: turns pairs of a head's channels by angles that grow with the position (Su et al. 2021).

A pair is a channel of the head's first half and its fellow of the second, as in Hugging Face's Llama. The angles'
cosines and sines are made once by the op `rotary_table`, for all layers.
"""

from __future__ import annotations

import numpy as np

from cllm.errors import ProgramError
from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program


def build_table(p: Program, tokens: str, name: str, head_size: int, theta: float = 10000.0) -> str:
    """Of each token's position t, cos and sin of t * theta^(-2i / head_size), i below head_size / 2."""
    if head_size % 2:
        raise ProgramError(name, f"heads of {head_size} channels", "an even number", "change n_head or n_embd")
    return p.append(
        "rotary_table", name, outputs=(p.buffer(f"{name}.y", head_size),), inputs=(tokens,), head_size=head_size,
        theta=theta,
    )


def forward_table(call: Call, tokens: Array) -> tuple[Array, ...]:
    half = call["head_size"] // 2
    angles = call.positions_of(len(tokens))[:, None] * call["theta"] ** (-np.arange(half) / half)
    return (np.concatenate([np.cos(angles), np.sin(angles)], axis=1),)


ROTARY_TABLE = OpKind("rotary_table", build_table, forward_table, None, sizes=("head_size",), numbers=("theta",))


def build(p: Program, x: str, table: str, name: str) -> str:
    """table: what `rotary_table` has made; x has whole heads of its width."""
    channels, head_size = p.width(x), p.width(table)
    if channels % head_size:
        raise ProgramError(name, f"{channels} channels", f"whole heads of {head_size}", "change n_head or n_embd")
    return p.append(
        "rotary", name, outputs=(p.buffer(f"{name}.y", channels),), inputs=(x, table), channels=channels,
        head_size=head_size,
    )


def forward(call: Call, x: Array, table: Array) -> tuple[Array, ...]:
    return (_turned(call, x, table, 1.0),)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, table: Array
) -> tuple[Array | None, ...]:
    return _turned(call, gradients[0], table, -1.0), None


def _turned(call: Call, x: Array, table: Array, direction: float) -> Array:
    half = call["head_size"] // 2
    first, second = np.moveaxis(x.reshape(len(x), -1, 2, half), 2, 0)
    cos, sin = table[:, None, :half], direction * table[:, None, half:]
    return np.stack([first * cos - second * sin, second * cos + first * sin], axis=2).reshape(x.shape)


ROTARY = OpKind(
    "rotary", build, forward, backward, sizes=("channels", "head_size"), reads=(2,), constants=(2,),
)
