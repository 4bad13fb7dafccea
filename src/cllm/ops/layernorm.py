"""layernorm: each token's channels to mean 0 and variance 1, then scale and shift (Ba et al. 2016)."""

from __future__ import annotations

import numpy as np

from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program


def build(p: Program, x: str, name: str, epsilon: float = 1e-5, bias: bool = True) -> str:
    channels = p.width(x)
    weight = p.parameter(f"{name}.weight", (channels,), mean=1.0)
    shift = p.parameter(f"{name}.bias", (channels,)) if bias else None
    return p.append(
        "layernorm", name, outputs=(p.buffer(f"{name}.y", channels),),
        saved=(p.buffer(f"{name}.mean", 1), p.buffer(f"{name}.rstd", 1)),
        inputs=(x,), parameters=(weight, shift), channels=channels, epsilon=epsilon,
    )


def forward(call: Call, x: Array, weight: Array, bias: Array | None) -> tuple[Array, ...]:
    mean = x.mean(axis=1)
    rstd = 1.0 / np.sqrt(x.var(axis=1) + call["epsilon"])
    y = (x - mean[:, None]) * rstd[:, None] * weight
    return y if bias is None else y + bias, mean, rstd


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, weight: Array, bias: Array | None
) -> tuple[Array | None, ...]:
    dy = gradients[0]
    _, mean, rstd = outputs
    xhat = (x - mean[:, None]) * rstd[:, None]
    g = dy * weight
    dx = rstd[:, None] * (g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).mean(axis=1, keepdims=True))
    return dx, (dy * xhat).sum(axis=0), None if bias is None else dy.sum(axis=0)


LAYERNORM = OpKind(
    "layernorm", build, forward, backward, sizes=("channels",), numbers=("epsilon",), reads=(1, 2, 3),
)
