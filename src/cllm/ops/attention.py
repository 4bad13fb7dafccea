"""attention: causal softmax attention of every head over its own sequence (Vaswani et al. 2017).

Between forward and backward two numbers a row and head are kept, the maximum score and 1 / sum, from which
the backward makes the same probabilities again: no T x T tensor outlives the op.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

from cllm.errors import ProgramError
from cllm.ops.bf16 import rounded
from cllm.ops.dropout import mask
from cllm.ops.kind import Array, Attributes, Call, OpKind, panel_width, rows_to_sequences
from cllm.program import Program

QUERIES = 64  # of the kernel's block


def build(
    p: Program, qkv: str, name: str, n_head: int, dropout: float = 0.0, kind: str = "attention"
) -> str:
    channels = p.width(qkv) // 3
    if channels % n_head:
        raise ProgramError(name, f"{channels} channels", f"a multiple of {n_head} heads", "change n_head or n_embd")
    return p.append(
        kind, name, outputs=(p.buffer(f"{name}.y", channels),),
        saved=(p.buffer(f"{name}.maximum", n_head), p.buffer(f"{name}.inverse", n_head)), inputs=(qkv,),
        channels=channels, n_head=n_head, scale=1.0 / sqrt(channels // n_head),
        dropout=dropout if p.mode == "train" else 0.0,
    )


def _heads(call: Call, qkv: Array) -> tuple[Array, Array, Array]:
    """q, k, v (B, NH, T, HS) of (rows, 3C)."""
    n_head = call["n_head"]
    parts = rows_to_sequences(qkv, call.time).reshape(-1, call.time, 3, n_head, qkv.shape[1] // 3 // n_head)
    q, k, v = np.moveaxis(parts, (2, 3), (0, 2))
    return q, k, v


def _scores(call: Call, q: Array, k: Array) -> Array:
    causal = np.tril(np.ones((call.time, call.time), dtype=bool))
    return np.where(causal, q @ np.swapaxes(k, -1, -2) * call["scale"], -np.inf)


def _probabilities(scores: Array) -> Array:
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _masks(call: Call, n_sequences: int) -> Array | float:
    """Dropout's factors (B, NH, T, T), 1 without."""
    if call["dropout"] == 0.0:
        return 1.0
    shape = (call["n_head"], call.time, call.time)
    n = shape[0] * shape[1] * shape[2]
    return np.stack([mask(call, call.sequence + s, n, call["dropout"]).reshape(shape) for s in range(n_sequences)])


def _rows(x: Array) -> Array:
    """(B, NH, T, HS) as (rows, C)."""
    return np.moveaxis(x, 1, 2).reshape(x.shape[0] * x.shape[2], -1)


def forward(call: Call, qkv: Array, factor: Callable[[Array], Array] = np.asarray) -> tuple[Array, ...]:
    """factor: what a product makes of what it multiplies."""
    q, k, v = _heads(call, factor(qkv))
    scores = _scores(call, q, k)
    maximum = scores.max(axis=-1)
    inverse = 1.0 / np.exp(scores - maximum[..., None]).sum(axis=-1)
    out = factor(_probabilities(scores) * _masks(call, q.shape[0])) @ v
    return _rows(out), maximum, inverse


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], qkv: Array,
    factor: Callable[[Array], Array] = np.asarray,
) -> tuple[Array | None, ...]:
    q, k, v = _heads(call, factor(qkv))
    dout, out = (_heads(call, np.concatenate([rows] * 3, axis=1))[0] for rows in (gradients[0], outputs[0]))
    p, masks = _probabilities(_scores(call, q, k)), _masks(call, q.shape[0])
    dp = factor(dout) @ np.swapaxes(v, -1, -2) * masks
    ds = factor(p * (dp - (out * dout).sum(axis=-1, keepdims=True)) * call["scale"])
    dq, dk, dv = ds @ k, np.swapaxes(ds, -1, -2) @ q, np.swapaxes(factor(p * masks), -1, -2) @ factor(dout)
    return (np.concatenate([_rows(dq), _rows(dk), _rows(dv)], axis=1),)


def flops(attributes: Attributes, time: int) -> float:
    """Scores and their sum over values, of half a square: a query sees the keys before it."""
    return 2.0 * float(attributes["channels"] * (time + 1))


def scratch(attributes: Attributes, time: int) -> int:
    wide, head_size = panel_width(time), int(attributes["channels"] // attributes["n_head"])
    return 2 * QUERIES * wide + 2 * head_size * wide + 3 * time * panel_width(head_size)


ATTENTION = OpKind(
    "attention", build, forward, backward, sizes=("channels", "n_head"), numbers=("scale", "dropout"),
    reads=(0, 1, 2, 3), flops=flops, scratch=scratch,
)


def build_bf16(p: Program, qkv: str, name: str, n_head: int, dropout: float = 0.0) -> str:
    """The same with its products in bfloat16; scores, softmax and what is stored are float32."""
    return build(p, qkv, name, n_head, dropout, "attention_bf16")


def forward_bf16(call: Call, qkv: Array) -> tuple[Array, ...]:
    return forward(call, qkv, rounded)


def backward_bf16(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], qkv: Array
) -> tuple[Array | None, ...]:
    return backward(call, gradients, outputs, qkv, rounded)


def scratch_bf16(attributes: Attributes, time: int) -> int:
    """Of pairs, each of which takes as much as a float32."""
    head_size = int(attributes["channels"] // attributes["n_head"])
    wide, wide_head, pairs, pairs_head = panel_width(time), panel_width(head_size), -(-time // 2), -(-head_size // 2)
    panels, row_panels = pairs_head * wide, pairs * wide_head
    return QUERIES * (3 * wide + wide_head) + panels + max(panels, row_panels) + 3 * row_panels


ATTENTION_BF16 = OpKind(
    "attention_bf16", build_bf16, forward_bf16, backward_bf16, sizes=("channels", "n_head"),
    numbers=("scale", "dropout"), reads=(0, 1, 2, 3), flops=flops, scratch=scratch_bf16,
)
