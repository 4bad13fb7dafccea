"""rmsnorm: each token's channels to root mean square 1, then scale (Zhang and Sennrich 2019).

With groups, each group of a token's channels by itself and all with one scale: the norm of every head's queries or keys
(Henry et al. 2020).
"""

from __future__ import annotations

import numpy as np

from cllm.errors import ProgramError
from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program


def build(p: Program, x: str, name: str, epsilon: float = 1e-6, groups: int = 1) -> str:
    width = p.width(x)
    if width % groups:
        raise ProgramError(name, f"{width} channels", f"a multiple of {groups} groups", "change n_head or n_embd")
    weight = p.parameter(f"{name}.weight", (width // groups,), mean=1.0)
    return p.append(
        "rmsnorm", name, outputs=(p.buffer(f"{name}.y", width),), saved=(p.buffer(f"{name}.rstd", groups),),
        inputs=(x,), parameters=(weight,), channels=width // groups, groups=groups, epsilon=epsilon,
    )


def forward(call: Call, x: Array, weight: Array) -> tuple[Array, ...]:
    g = _grouped(call, x)
    rstd = 1.0 / np.sqrt((g * g).mean(axis=2) + call["epsilon"])
    return (g * rstd[:, :, None] * weight).reshape(x.shape), rstd


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, weight: Array
) -> tuple[Array | None, ...]:
    dy, rstd = _grouped(call, gradients[0]), outputs[1].reshape(len(x), -1, 1)
    xhat, g = _grouped(call, x) * rstd, dy * weight
    dx = rstd * (g - xhat * (g * xhat).mean(axis=2, keepdims=True))
    return dx.reshape(x.shape), (dy * xhat).sum(axis=(0, 1))


def _grouped(call: Call, x: Array) -> Array:
    return x.reshape(len(x), call["groups"], call["channels"])


RMSNORM = OpKind(
    "rmsnorm", build, forward, backward, sizes=("channels", "groups"), numbers=("epsilon",), reads=(1, 2),
)
