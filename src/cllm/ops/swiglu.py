"""swiglu: gate times its sigmoid, times up (Shazeer 2020)."""

from __future__ import annotations

import numpy as np

from cllm.errors import ProgramError
from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program


def build(p: Program, gate: str, up: str, name: str) -> str:
    channels = p.width(gate)
    if p.width(up) != channels:
        raise ProgramError(name, f"a gate of {channels} channels and {p.width(up)} of up", "as many", "make them alike")
    return p.append(
        "swiglu", name, outputs=(p.buffer(f"{name}.y", channels),), inputs=(gate, up), channels=channels,
    )


def forward(call: Call, gate: Array, up: Array) -> tuple[Array, ...]:
    return (gate * _sigmoid(gate) * up,)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], gate: Array, up: Array
) -> tuple[Array | None, ...]:
    (dy,) = gradients
    s = _sigmoid(gate)
    return dy * up * s * (1.0 + gate * (1.0 - s)), dy * gate * s


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-x)))


SWIGLU = OpKind("swiglu", build, forward, backward, sizes=("channels",), reads=(1, 2))
