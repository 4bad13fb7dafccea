"""The ops in float32, every operation and its order written out: what numerics rules 2 and 3 say, to the bit.

Each function takes a case's arrays and `start`, the values that gradients are added to (or none), and returns the
results of the harness by name. What sums nothing is left out, such as gelu and dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cllm import kernels
from cllm.program import LOSSES, TARGETS, TOKENS, WEIGHTS, Op
from tests.float32 import Float32, chain, column_chain, dot16, fma, pair_chain, sum16

Arrays = Mapping[str, np.ndarray]
ONE = np.float32(1.0)


def linear(op: Op, values: Arrays, start: Arrays, chain: Callable[..., Float32] = chain) -> dict[str, Float32]:
    x, weight, dy = values["x0"], values["w.weight"], values["d/w.y"]
    results = {
        "w.y": chain(x, weight, values.get("w.bias", 0.0)),
        "d/x0": chain(dy, weight.T, start.get("d/x0", 0.0)),
        "d/w.weight": chain(x.T, dy, start.get("d/w.weight", 0.0)),
    }
    if "w.bias" in values:
        results["d/w.bias"] = column_chain(dy, start.get("d/w.bias", 0.0))
    return results


def linear_bf16(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    return linear(op, values, start, pair_chain)


def linear_transposed(
    op: Op, values: Arrays, start: Arrays, chain: Callable[..., Float32] = chain
) -> dict[str, Float32]:
    def turned(arrays: Arrays) -> Arrays:
        return {name: array.T if name.endswith("w.weight") else array for name, array in arrays.items()}

    results = linear(op, turned(values), turned(start), chain)
    return {**results, "d/w.weight": results["d/w.weight"].T}


def linear_transposed_bf16(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    return linear_transposed(op, values, start, pair_chain)


def rmsnorm(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    weight, c = values["norm.weight"], np.float32(op.attributes["channels"])
    x, dy = (values[name].reshape(-1, len(weight)) for name in ("x0", "d/norm.y"))
    rstd = (ONE / np.sqrt(dot16(x, x) / c + np.float32(op.attributes["epsilon"])))[:, None]
    xhat, g = x * rstd, dy * weight
    dx = ((g - xhat * (dot16(g, xhat) / c)[:, None]) * rstd).reshape(values["x0"].shape)
    dweight = np.broadcast_to(np.float32(start.get("d/norm.weight", 0.0)), weight.shape)
    for row in range(len(x)):
        dweight = fma(dy[row], xhat[row], dweight)
    y = (xhat * weight).reshape(values["x0"].shape)
    return {"norm.y": y, "d/x0": start["d/x0"] + dx if start else dx, "d/norm.weight": dweight}


def layernorm(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    x, weight, dy, c = values["x0"], values["ln.weight"], values["d/ln.y"], np.float32(values["x0"].shape[1])
    deviation = x - (sum16(x) / c)[:, None]
    rstd = (ONE / np.sqrt(dot16(deviation, deviation) / c + np.float32(op.attributes["epsilon"])))[:, None]
    xhat, g = deviation * rstd, dy * weight
    dx = ((g - (sum16(g) / c)[:, None]) - xhat * (dot16(g, xhat) / c)[:, None]) * rstd
    dweight = np.broadcast_to(np.float32(start.get("d/ln.weight", 0.0)), weight.shape)
    for row in range(len(x)):
        dweight = fma(dy[row], xhat[row], dweight)
    results = {
        "ln.y": fma(xhat, weight, values.get("ln.bias", np.zeros_like(weight))),
        "d/x0": start["d/x0"] + dx if start else dx,
        "d/ln.weight": dweight,
    }
    if "ln.bias" in values:
        results["d/ln.bias"] = column_chain(dy, start.get("d/ln.bias", 0.0))
    return results


def attention_bf16(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    return attention(op, values, start, pair_chain)


def attention(op: Op, values: Arrays, start: Arrays, chain: Callable[..., Float32] = chain) -> dict[str, Float32]:
    n_sequences, time = values[TOKENS].shape
    n_head, size = op.attributes["n_head"], op.attributes["channels"] // op.attributes["n_head"]
    qkv = values["x0"].reshape(n_sequences, time, 3, n_head, size)
    dout = values["d/attn.y"].reshape(n_sequences, time, n_head, size)
    out, dqkv = np.empty_like(dout), np.broadcast_to(start.get("d/x0", np.float32(0)), values["x0"].shape).copy()
    dqkv = dqkv.reshape(qkv.shape)
    for sequence in range(n_sequences):
        for head in range(n_head):
            here = sequence, slice(None), head
            out[here], dqkv[sequence, :, :, head] = attention_head(
                qkv[sequence, :, :, head], dout[here], dqkv[sequence, :, :, head], np.float32(op.attributes["scale"]),
                chain,
            )
    return {"attn.y": out.reshape(-1, n_head * size), "d/x0": dqkv.reshape(-1, 3 * n_head * size)}


def attention_head(
    qkv: Float32, dout: Float32, start: Float32, scale: np.float32, chain: Callable[..., Float32]
) -> tuple[Float32, Float32]:
    """out (T, HS) and dqkv (T, 3, HS) of qkv (T, 3, HS), dout (T, HS)."""
    (q, k, v), causal = np.moveaxis(qkv, 1, 0), np.tril(np.ones((len(qkv), len(qkv)), dtype=bool))
    p = probabilities(chain(q, k.T), causal, scale)
    out = chain(p, v, keep=causal)
    dp = chain(dout, v.T) - dot16(out, dout)[:, None]
    dscores = dp * p * scale
    dq = chain(dscores, k, start[:, 0], causal)
    dk = chain(dscores.T, q, start[:, 1], causal.T)
    dv = chain(p.T, dout, start[:, 2], causal.T)
    return out, np.stack([dq, dk, dv], axis=1)


def grouped_attention_bf16(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    return grouped_attention(op, values, start, pair_chain)


def grouped_attention(
    op: Op, values: Arrays, start: Arrays, chain: Callable[..., Float32] = chain
) -> dict[str, Float32]:
    """Heads that share keys and values go on, one after the other, with the gradients of these."""
    n_sequences, time = values[TOKENS].shape
    n_head, n_kv_head = op.attributes["n_head"], op.attributes["n_kv_head"]
    size, names = op.attributes["channels"] // n_head, ("x0", "x1", "x2")

    def heads(array: np.ndarray) -> np.ndarray:
        return array.reshape(n_sequences, time, -1, size)

    q, k, v, dout = (heads(values[name]) for name in (*names, "d/attn.y"))
    gradients = [np.broadcast_to(start.get("d/" + n, np.float32(0)), values[n].shape).copy() for n in names]
    dq, dk, dv = map(heads, gradients)
    out = np.empty_like(dout)
    for sequence in range(n_sequences):
        for head in range(n_head):
            here, shared = (sequence, slice(None), head), (sequence, slice(None), head * n_kv_head // n_head)
            qkv, begun = (np.stack([a[here], b[shared], c[shared]], axis=1) for a, b, c in ((q, k, v), (dq, dk, dv)))
            out[here], dqkv = attention_head(qkv, dout[here], begun, np.float32(op.attributes["scale"]), chain)
            dq[here], dk[shared], dv[shared] = np.moveaxis(dqkv, 1, 0)
    return {"attn.y": out.reshape(-1, n_head * size), **dict(zip(("d/x0", "d/x1", "d/x2"), gradients, strict=True))}


def probabilities(scores: Float32, causal: np.ndarray, scale: np.float32) -> Float32:
    """Exact row maximum, exp, the sixteen-lane sum over the absolute index, then the one division."""
    seen = np.where(causal, scores, np.float32(-np.inf))
    e = kernels.map_float32("exp", seen * scale - seen.max(axis=1, keepdims=True) * scale)
    return e * (ONE / sum16(e))[:, None]


def cross_entropy_bf16(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    return cross_entropy(op, values, start, pair_chain)


def cross_entropy(
    op: Op, values: Arrays, start: Arrays, chain: Callable[..., Float32] = chain
) -> dict[str, Float32]:
    head, targets = values["wte.weight"], values[TARGETS].reshape(-1)
    counted = targets >= 0
    x, target, weight = values["x0"][counted], targets[counted], values[WEIGHTS].reshape(-1)[counted]
    token = np.arange(len(x))
    cap, smoothing, z_loss = (np.float32(op.attributes[n]) for n in ("logit_softcap", "label_smoothing", "z_loss"))
    logits = chain(x, head.T)
    tanh = kernels.map_float32("tanh", logits * (ONE / cap)) if cap else None
    logits = cap * tanh if cap else logits
    maximum = logits.max(axis=1)
    e = kernels.map_float32("exp", logits - maximum[:, None])
    total = sum16(e)
    losses, dx = np.zeros(len(counted), dtype=np.float32), np.zeros_like(values["x0"])
    picked, log = logits[token, target], kernels.map_float32("log", total)
    loss, log_total = log + (maximum - picked), log + maximum
    dlogits = e * (ONE / total)[:, None]
    if smoothing:
        loss = loss + smoothing * (picked - sum16(logits) / np.float32(len(head)))
    if z_loss:
        loss = loss + z_loss * log_total * log_total
        dlogits = dlogits * (ONE + np.float32(2.0) * z_loss * log_total)[:, None]
    if smoothing:
        dlogits = dlogits - smoothing / np.float32(len(head))
    losses[counted] = loss * weight
    dlogits[token, target] -= ONE - smoothing
    dlogits *= weight[:, None]
    dlogits = dlogits * (ONE - tanh * tanh) if cap else dlogits
    dx[...] = start.get("d/x0", 0.0)
    dx[counted] = chain(dlogits, head, dx[counted])
    dhead = chain(dlogits.T, x, start.get("d/wte.weight", 0.0))
    return {LOSSES: losses[:, None], "d/x0": dx, "d/wte.weight": dhead}


def embedding(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    table, tokens = values["wte.weight"], values[TOKENS].reshape(-1)
    dtable = np.broadcast_to(start.get("d/wte.weight", np.float32(0.0)), table.shape).copy()
    for token, dy in zip(tokens, values["d/wte.y"], strict=True):
        dtable[token] = dtable[token] + dy
    return {"wte.y": table[tokens], "d/wte.weight": dtable}


def position(op: Op, values: Arrays, start: Arrays) -> dict[str, Float32]:
    table, dy = values["wpe.weight"], values["d/wpe.y"]
    n_sequences, time = values[TOKENS].shape
    return {
        "wpe.y": values["x0"] + np.tile(table[:time], (n_sequences, 1)),
        "d/x0": start["d/x0"] + dy if start else dy,
        "d/wpe.weight": column_chain(dy.reshape(n_sequences, time, -1), start.get("d/wpe.weight", 0.0)),
    }


CHAINS: dict[str, Callable[[Op, Arrays, Arrays], dict[str, Float32]]] = {
    "linear": linear, "layernorm": layernorm, "attention": attention, "cross_entropy": cross_entropy,
    "attention_bf16": attention_bf16, "linear_bf16": linear_bf16, "cross_entropy_bf16": cross_entropy_bf16,
    "embedding": embedding, "position": position, "rmsnorm": rmsnorm, "linear_transposed": linear_transposed,
    "linear_transposed_bf16": linear_transposed_bf16, "grouped_attention": grouped_attention,
    "grouped_attention_bf16": grouped_attention_bf16,
}
