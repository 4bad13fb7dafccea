"""dropout: each element stays with probability 1 - p and is divided by it (Srivastava et al. 2014)."""

from __future__ import annotations

import numpy as np

from cllm.ops.kind import Array, Call, OpKind
from cllm.philox import STREAM_DROPOUT, key_of
from cllm.program import Program


def build(p: Program, x: str, name: str, probability: float) -> str:
    """Appended in training only: elsewhere, and at probability 0, the input is the output."""
    if p.mode != "train" or probability == 0.0:
        return x
    channels = p.width(x)
    return p.append(
        "dropout", name, outputs=(p.buffer(f"{name}.y", channels),), inputs=(x,),
        channels=channels, probability=probability,
    )


def philox_blocks(n_blocks: int, words: tuple[int, int, int], seed: int) -> Array:
    """Philox4x32-10 of the counters (0, *words), (1, *words), ...: (4 * n_blocks,) numbers below 2^32."""
    low = np.uint64(0xFFFFFFFF)
    x = [np.arange(n_blocks, dtype=np.uint64), *(np.full(n_blocks, word, dtype=np.uint64) for word in words)]
    key = list(key_of(seed, STREAM_DROPOUT))
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * x[0], np.uint64(0xCD9E8D57) * x[2]
        high_a, high_b = a >> np.uint64(32), b >> np.uint64(32)
        x = [high_b ^ x[1] ^ np.uint64(key[0]), b & low, high_a ^ x[3] ^ np.uint64(key[1]), a & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(x, axis=1).reshape(-1)


def mask(call: Call, sample: int, n: int, probability: float) -> Array:
    """(n,) factors of one sample's elements: 0 or 1 / (1 - p); the counter is (block, op, sample, batch)."""
    random = philox_blocks((n + 3) // 4, (call.op, sample, call.batch), call.seed)[:n]
    return np.where(random >= np.uint64(int(probability * 2.0**32)), 1.0 / (1.0 - probability), 0.0)


def applied(masks: Array, x: Array) -> Array:
    """A dropped element is +0 whatever it was: 0 times infinity would be a NaN."""
    return np.where(masks > 0.0, x * masks, 0.0)


def _masks(call: Call, x: Array) -> Array:
    per_sample = call.time * x.shape[1]
    n_samples = x.size // per_sample
    samples = [mask(call, call.sequence + s, per_sample, call["probability"]) for s in range(n_samples)]
    return np.concatenate(samples).reshape(x.shape)


def forward(call: Call, x: Array) -> tuple[Array, ...]:
    return (applied(_masks(call, x), x),)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array
) -> tuple[Array | None, ...]:
    return (applied(_masks(call, x), gradients[0]),)


DROPOUT = OpKind("dropout", build, forward, backward, sizes=("channels",), numbers=("probability",))
