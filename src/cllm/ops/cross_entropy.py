"""cross_entropy: head and loss in one, so that the logits of all tokens never exist at once; `logits`: the head alone.

The output is a loss for each token, times its weight; the gradient is that of their sum. A token with target
-1 is not counted: its loss is 0 and nothing flows back from it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cllm.ops.bf16 import PANEL, ROOM, rounded
from cllm.ops.kind import Array, Attributes, Call, OpKind, panel_width
from cllm.program import LOSSES, TARGETS, WEIGHTS, Program

CHUNK, WIDEST_PANEL = 256, 32  # tokens of the kernel's chunk of logits


def build(p: Program, x: str, name: str, head: str, kind: str = "cross_entropy") -> str:
    """head: name of the (V, C) matrix, the token embedding's where it is tied."""
    channels = p.width(x)
    p.parameter(head, (p.vocab_size, channels), deviation=0.02, decay=True)
    return p.append(
        kind, name, outputs=(LOSSES,), inputs=(x, TARGETS, WEIGHTS), parameters=(head,),
        channels=channels, vocab_size=p.vocab_size,
    )


def _softmax(x: Array, head: Array) -> tuple[Array, Array]:
    """Log of the sum of exponentials (rows,) and probabilities (rows, V)."""
    logits = x @ head.T
    maximum = logits.max(axis=1)
    e = np.exp(logits - maximum[:, None])
    total = e.sum(axis=1)
    return np.log(total) + maximum, e / total[:, None]


def forward(call: Call, x: Array, targets: Array, weights: Array, head: Array) -> tuple[Array, ...]:
    counted = targets >= 0
    losses = np.zeros(len(x))
    log_total, _ = _softmax(x[counted], head)
    picked = (x[counted] * head[targets[counted]]).sum(axis=1)
    losses[counted] = (log_total - picked) * weights[counted]
    return (losses,)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...],
    x: Array, targets: Array, weights: Array, head: Array, store: Callable[[Array], Array] = lambda dlogits: dlogits,
) -> tuple[Array | None, ...]:
    counted = targets >= 0
    _, dlogits = _softmax(x[counted], head)
    dlogits[np.arange(len(dlogits)), targets[counted]] -= 1.0
    dlogits *= (weights * gradients[0])[counted][:, None]
    dlogits = store(dlogits)
    dx = np.zeros_like(x)
    dx[counted] = dlogits @ head
    return dx, None, None, dlogits.T @ x[counted]


def flops(attributes: Attributes, time: int) -> float:
    return 2.0 * float(attributes["channels"] * attributes["vocab_size"])


def scratch(attributes: Attributes, time: int) -> int:
    head = 16  # where the next chunk begins
    return head + CHUNK * (panel_width(attributes["vocab_size"]) + 2 * int(attributes["channels"]) + WIDEST_PANEL)


CROSS_ENTROPY = OpKind(
    "cross_entropy", build, forward, backward, sizes=("channels", "vocab_size"), reads=(1,), matrix=4,
    depth_is_rows=False, flops=flops, scratch=scratch, backward_does_forward=True,
)


def build_bf16(p: Program, x: str, name: str, head: str) -> str:
    """The same with its three products in bfloat16; logits, softmax and loss are float32."""
    return build(p, x, name, head, "cross_entropy_bf16")


def forward_bf16(call: Call, x: Array, targets: Array, weights: Array, head: Array) -> tuple[Array, ...]:
    return forward(call, rounded(x), targets, weights, rounded(head))


def backward_bf16(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...],
    x: Array, targets: Array, weights: Array, head: Array,
) -> tuple[Array | None, ...]:
    return backward(call, gradients, outputs, rounded(x), targets, weights, rounded(head), rounded)


def scratch_bf16(attributes: Attributes, time: int) -> int:
    return scratch(attributes, time) + ROOM + PANEL


CROSS_ENTROPY_BF16 = OpKind(
    "cross_entropy_bf16", build_bf16, forward_bf16, backward_bf16, sizes=("channels", "vocab_size"), reads=(1,),
    matrix=4, depth_is_rows=False, pairs=True, flops=flops, scratch=scratch_bf16, backward_does_forward=True,
)


def build_logits(p: Program, x: str, name: str, head: str, kind: str = "logits") -> str:
    """The logits (V,) of the last token alone."""
    channels = p.width(x)
    p.parameter(head, (p.vocab_size, channels), deviation=0.02, decay=True)
    return p.append(
        kind, name, outputs=(p.buffer("logits", p.vocab_size, per_token=False),), inputs=(x,), parameters=(head,),
        channels=channels, vocab_size=p.vocab_size,
    )


def forward_logits(call: Call, x: Array, head: Array) -> tuple[Array, ...]:
    return (head @ x[-1],)


LOGITS = OpKind(
    "logits", build_logits, forward_logits, None, sizes=("channels", "vocab_size"), matrix=2, depth_is_rows=False,
    flops=flops,
)


def build_logits_bf16(p: Program, x: str, name: str, head: str) -> str:
    return build_logits(p, x, name, head, "logits_bf16")


def forward_logits_bf16(call: Call, x: Array, head: Array) -> tuple[Array, ...]:
    return forward_logits(call, rounded(x), rounded(head))


def scratch_logits_bf16(attributes: Attributes, time: int) -> int:
    return ROOM


LOGITS_BF16 = OpKind(
    "logits_bf16", build_logits_bf16, forward_logits_bf16, None, sizes=("channels", "vocab_size"), matrix=2,
    depth_is_rows=False, pairs=True, flops=flops, scratch=scratch_logits_bf16,
)
