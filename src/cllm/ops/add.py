"""add: the residual sum."""

from __future__ import annotations

from cllm.errors import ProgramError
from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program


def build(p: Program, a: str, b: str, name: str) -> str:
    channels = p.width(a)
    if p.width(b) != channels:
        raise ProgramError(name, f"{channels} and {p.width(b)} channels", "as many on both sides", "check the model")
    return p.append("add", name, outputs=(p.buffer(f"{name}.y", channels),), inputs=(a, b), channels=channels)


def forward(call: Call, a: Array, b: Array) -> tuple[Array, ...]:
    return (a + b,)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], a: Array, b: Array
) -> tuple[Array | None, ...]:
    return gradients[0], gradients[0]


ADD = OpKind("add", build, forward, backward, sizes=("channels",), passes=(1, 2))
