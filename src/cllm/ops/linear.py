"""linear: y = x · weight + bias. The weight is (in, out), as in Hugging Face's Conv1D.

linear_transposed: its weight is (out, in), as in PyTorch's Linear.
"""

from __future__ import annotations

from cllm.ops.bf16 import PANEL, ROOM, rounded
from cllm.ops.kind import Array, Attributes, Call, OpKind
from cllm.ops.room import MOST_TOKENS, gradient_room
from cllm.program import Program


def build(
    p: Program, x: str, name: str, columns: int, bias: bool = True, deviation: float = 0.02, kind: str = "linear"
) -> str:
    depth = p.width(x)
    shape = (columns, depth) if kind.startswith("linear_transposed") else (depth, columns)
    weight = p.parameter(f"{name}.weight", shape, deviation=deviation, decay=True)
    shift = p.parameter(f"{name}.bias", (columns,)) if bias else None
    return p.append(
        kind, name, outputs=(p.buffer(f"{name}.y", columns),), inputs=(x,), parameters=(weight, shift),
        depth=depth, columns=columns,
    )


def forward(call: Call, x: Array, weight: Array, bias: Array | None) -> tuple[Array, ...]:
    y = x @ weight
    return (y if bias is None else y + bias,)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, weight: Array, bias: Array | None
) -> tuple[Array | None, ...]:
    (dy,) = gradients
    return dy @ weight.T, x.T @ dy, None if bias is None else dy.sum(axis=0)


def flops(attributes: Attributes, time: int) -> float:
    return 2.0 * float(attributes["depth"] * attributes["columns"])


def scratch(attributes: Attributes, time: int) -> int:
    return gradient_room(max(int(attributes["depth"]), int(attributes["columns"])))


LINEAR = OpKind(
    "linear", build, forward, backward, sizes=("depth", "columns"), reads=(1,), matrix=2, flops=flops, scratch=scratch,
    together=MOST_TOKENS,
)


def build_bf16(p: Program, x: str, name: str, columns: int, bias: bool = True, deviation: float = 0.02) -> str:
    """The same with its three products in bfloat16; what is stored, and the sum of a bias's gradient, is float32."""
    return build(p, x, name, columns, bias, deviation, "linear_bf16")


def forward_bf16(call: Call, x: Array, weight: Array, bias: Array | None) -> tuple[Array, ...]:
    return forward(call, rounded(x), rounded(weight), bias)


def backward_bf16(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, weight: Array, bias: Array | None
) -> tuple[Array | None, ...]:
    (dy,) = gradients
    dx, dweight, _ = backward(call, (rounded(dy),), outputs, rounded(x), rounded(weight), None)
    return dx, dweight, None if bias is None else dy.sum(axis=0)


def scratch_bf16(attributes: Attributes, time: int) -> int:
    return ROOM + PANEL


LINEAR_BF16 = OpKind(
    "linear_bf16", build_bf16, forward_bf16, backward_bf16, sizes=("depth", "columns"), reads=(1,), matrix=2,
    pairs=True, flops=flops, scratch=scratch_bf16,
)


def build_transposed(
    p: Program, x: str, name: str, columns: int, bias: bool = True, deviation: float = 0.02
) -> str:
    return build(p, x, name, columns, bias, deviation, "linear_transposed")


def forward_transposed(call: Call, x: Array, weight: Array, bias: Array | None) -> tuple[Array, ...]:
    return forward(call, x, weight.T, bias)


def backward_transposed(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, weight: Array, bias: Array | None
) -> tuple[Array | None, ...]:
    return _transposed(backward(call, gradients, outputs, x, weight.T, bias))


def _transposed(gradients: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
    dx, dweight, dbias = gradients
    assert dweight is not None
    return dx, dweight.T, dbias


LINEAR_TRANSPOSED = OpKind(
    "linear_transposed", build_transposed, forward_transposed, backward_transposed, sizes=("depth", "columns"),
    reads=(1,), matrix=2, depth_is_rows=False, flops=flops, scratch=scratch, together=MOST_TOKENS,
)


def build_transposed_bf16(
    p: Program, x: str, name: str, columns: int, bias: bool = True, deviation: float = 0.02
) -> str:
    return build(p, x, name, columns, bias, deviation, "linear_transposed_bf16")


def forward_transposed_bf16(call: Call, x: Array, weight: Array, bias: Array | None) -> tuple[Array, ...]:
    return forward_bf16(call, x, weight.T, bias)


def backward_transposed_bf16(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, weight: Array, bias: Array | None
) -> tuple[Array | None, ...]:
    return _transposed(backward_bf16(call, gradients, outputs, x, weight.T, bias))


LINEAR_TRANSPOSED_BF16 = OpKind(
    "linear_transposed_bf16", build_transposed_bf16, forward_transposed_bf16, backward_transposed_bf16,
    sizes=("depth", "columns"), reads=(1,), matrix=2, depth_is_rows=False, pairs=True, flops=flops,
    scratch=scratch_bf16,
)
