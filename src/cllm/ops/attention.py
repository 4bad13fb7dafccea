"""attention and grouped_attention: causal softmax attention of every head over its own sequence (Vaswani et al. 2017).

Where documents are told apart, over its own document.

Between forward and backward two numbers a row and head are kept, the maximum score and 1 / sum, from which
the backward makes the same probabilities again: no T x T tensor outlives the op.

In grouped attention neighbouring heads of the queries share one head of keys and values (Ainslie et al. 2023).
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
    return _append(p, kind, name, (qkv,), p.width(qkv) // 3, n_head, n_head, dropout)


def _append(
    p: Program, kind: str, name: str, inputs: tuple[str, ...], channels: int, n_head: int, n_kv_head: int,
    dropout: float,
) -> str:
    if channels % n_head:
        raise ProgramError(name, f"{channels} channels", f"a multiple of {n_head} heads", "change n_head or n_embd")
    return p.append(
        kind, name, outputs=(p.buffer(f"{name}.y", channels),),
        saved=(p.buffer(f"{name}.maximum", n_head), p.buffer(f"{name}.inverse", n_head)), inputs=inputs,
        channels=channels, n_head=n_head, n_kv_head=n_kv_head, scale=1.0 / sqrt(channels // n_head),
        dropout=dropout if p.mode == "train" else 0.0,
    )


def _heads(call: Call, x: Array) -> Array:
    """(B, heads, T, HS) of rows with whole heads."""
    size = call["channels"] // call["n_head"]
    return np.moveaxis(rows_to_sequences(x, call.time).reshape(-1, call.time, x.shape[1] // size, size), 2, 1)


def _seen(call: Call, n_sequences: int) -> Array:
    """(B, 1, T, T): whether a query sees a key: those before it, and of its document only."""
    document = (call.positions_of(n_sequences * call.time) == 0).reshape(n_sequences, 1, call.time).cumsum(axis=-1)
    return np.asarray(np.tri(call.time, dtype=bool) & (document[..., :, None] == document[..., None, :]))


def _scores(call: Call, q: Array, k: Array) -> Array:
    return np.where(_seen(call, q.shape[0]), q @ np.swapaxes(k, -1, -2) * call["scale"], -np.inf)


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


def _attend(
    call: Call, q: Array, k: Array, v: Array, factor: Callable[[Array], Array]
) -> tuple[Array, ...]:
    """Of heads (B, NH, T, HS); factor: what a product makes of what it multiplies."""
    scores = _scores(call, factor(q), factor(k))
    maximum = scores.max(axis=-1)
    inverse = 1.0 / np.exp(scores - maximum[..., None]).sum(axis=-1)
    out = factor(_probabilities(scores) * _masks(call, q.shape[0])) @ factor(v)
    return _rows(out), maximum, inverse


def _attend_backward(
    call: Call, dout: Array, out: Array, q: Array, k: Array, v: Array, factor: Callable[[Array], Array]
) -> tuple[Array, Array, Array]:
    """dq, dk and dv of each head (B, NH, T, HS)."""
    q, k, v = factor(q), factor(k), factor(v)
    p, masks = _probabilities(_scores(call, q, k)), _masks(call, q.shape[0])
    dp = factor(dout) @ np.swapaxes(v, -1, -2) * masks
    ds = factor(p * (dp - (out * dout).sum(axis=-1, keepdims=True)) * call["scale"])
    return ds @ k, np.swapaxes(ds, -1, -2) @ q, np.swapaxes(factor(p * masks), -1, -2) @ factor(dout)


def forward(call: Call, qkv: Array, factor: Callable[[Array], Array] = np.asarray) -> tuple[Array, ...]:
    q, k, v = (_heads(call, third) for third in np.split(qkv, 3, axis=1))
    return _attend(call, q, k, v, factor)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], qkv: Array,
    factor: Callable[[Array], Array] = np.asarray,
) -> tuple[Array | None, ...]:
    q, k, v = (_heads(call, third) for third in np.split(qkv, 3, axis=1))
    dout, out = _heads(call, gradients[0]), _heads(call, outputs[0])
    parts = _attend_backward(call, dout, out, q, k, v, factor)
    return (np.concatenate([_rows(part) for part in parts], axis=1),)


def flops(attributes: Attributes, time: int) -> float:
    """Scores and their sum over values, of half a square: a query sees the keys before it."""
    return 2.0 * float(attributes["channels"] * (time + 1))


def scratch(attributes: Attributes, time: int) -> int:
    wide, head_size = panel_width(time), int(attributes["channels"] // attributes["n_head"])
    return 2 * QUERIES * wide + 2 * head_size * wide + 3 * time * panel_width(head_size)


ATTENTION = OpKind(
    "attention", build, forward, backward, sizes=("channels", "n_head", "n_kv_head"), numbers=("scale", "dropout"),
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
    "attention_bf16", build_bf16, forward_bf16, backward_bf16, sizes=("channels", "n_head", "n_kv_head"),
    numbers=("scale", "dropout"), reads=(0, 1, 2, 3), flops=flops, scratch=scratch_bf16,
)


def build_grouped(
    p: Program, q: str, k: str, v: str, name: str, n_head: int, n_kv_head: int, dropout: float = 0.0,
    kind: str = "grouped_attention",
) -> str:
    """q has n_head heads, k and v have n_kv_head of the same size."""
    if n_kv_head < 1 or n_head % n_kv_head:
        came = f"{n_kv_head} heads of keys and values"
        raise ProgramError(name, came, f"a divisor of n_head = {n_head}", "change n_kv_head")
    width = p.width(q) // n_head * n_kv_head
    for buffer in (k, v):
        if p.width(buffer) != width:
            raise ProgramError(name, f"{buffer} of {p.width(buffer)} channels", f"{width}", "make it as wide")
    return _append(p, kind, name, (q, k, v), p.width(q), n_head, n_kv_head, dropout)


def _shared(call: Call, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    """Heads, each with its own copy of the keys and values that it shares."""
    group = call["n_head"] // call["n_kv_head"]
    return _heads(call, q), np.repeat(_heads(call, k), group, axis=1), np.repeat(_heads(call, v), group, axis=1)


def forward_grouped(
    call: Call, q: Array, k: Array, v: Array, factor: Callable[[Array], Array] = np.asarray
) -> tuple[Array, ...]:
    return _attend(call, *_shared(call, q, k, v), factor)


def backward_grouped(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], q: Array, k: Array, v: Array,
    factor: Callable[[Array], Array] = np.asarray,
) -> tuple[Array | None, ...]:
    dout, out = _heads(call, gradients[0]), _heads(call, outputs[0])
    dq, *shared = _attend_backward(call, dout, out, *_shared(call, q, k, v), factor)
    dk, dv = (d.reshape(d.shape[0], call["n_kv_head"], -1, *d.shape[2:]).sum(axis=2) for d in shared)
    return _rows(dq), _rows(dk), _rows(dv)


GROUPED_ATTENTION = OpKind(
    "grouped_attention", build_grouped, forward_grouped, backward_grouped, sizes=("channels", "n_head", "n_kv_head"),
    numbers=("scale", "dropout"), reads=(0, 1, 2, 3, 4, 5), flops=flops, scratch=scratch,
)


def build_grouped_bf16(
    p: Program, q: str, k: str, v: str, name: str, n_head: int, n_kv_head: int, dropout: float = 0.0
) -> str:
    return build_grouped(p, q, k, v, name, n_head, n_kv_head, dropout, "grouped_attention_bf16")


def forward_grouped_bf16(call: Call, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    return forward_grouped(call, q, k, v, rounded)


def backward_grouped_bf16(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], q: Array, k: Array, v: Array
) -> tuple[Array | None, ...]:
    return backward_grouped(call, gradients, outputs, q, k, v, rounded)


GROUPED_ATTENTION_BF16 = OpKind(
    "grouped_attention_bf16", build_grouped_bf16, forward_grouped_bf16, backward_grouped_bf16,
    sizes=("channels", "n_head", "n_kv_head"), numbers=("scale", "dropout"), reads=(0, 1, 2, 3, 4, 5), flops=flops,
    scratch=scratch_bf16,
)
