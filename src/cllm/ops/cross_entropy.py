"""cross_entropy: head and loss in one, so that the logits of all tokens never exist at once; `logits`: the head alone.

The output is a loss for each token, times its weight; the gradient is that of their sum. A token with target
-1 is not counted: its loss is 0 and nothing flows back from it.

Options: logit_softcap, c tanh(logits / c) instead of the logits (Gemma Team 2024); label_smoothing e, a share of the
target's probability that is spread over all words (Szegedy et al. 2016); z_loss, times the square of the logarithm of
the sum of exponentials, which keeps logits from drifting (Chowdhery et al. 2022). 0 stands for none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cllm.ops.bf16 import PANEL, ROOM, rounded
from cllm.ops.kind import Array, Attributes, Call, OpKind, panel_width
from cllm.ops.room import gradient_room
from cllm.program import LOSSES, TARGETS, WEIGHTS, Program

CHUNK = 256  # tokens whose logits the kernel has at a time, of one shard or of several


def build(
    p: Program, x: str, name: str, head: str, logit_softcap: float = 0.0, label_smoothing: float = 0.0,
    z_loss: float = 0.0, kind: str = "cross_entropy",
) -> str:
    """head: name of the (V, C) matrix, the token embedding's where it is tied."""
    channels = p.width(x)
    p.parameter(head, (p.vocab_size, channels), deviation=0.02, decay=True)
    return p.append(
        kind, name, outputs=(LOSSES,), inputs=(x, TARGETS, WEIGHTS), parameters=(head,), channels=channels,
        vocab_size=p.vocab_size, logit_softcap=logit_softcap, label_smoothing=label_smoothing, z_loss=z_loss,
    )


def add_terms(p: Program, label_smoothing: float, z_loss: float) -> None:
    """What training adds to the loss of a Program, and evaluation does not."""
    for index, op in enumerate(p.ops):
        if op.kind in (CROSS_ENTROPY, CROSS_ENTROPY_BF16):
            attributes = {**op.attributes, "label_smoothing": label_smoothing, "z_loss": z_loss}
            p.ops[index] = replace(op, attributes=attributes)


def _capped(call: Call, logits: Array) -> Array:
    cap = call["logit_softcap"]
    return cap * np.tanh(logits / cap) if cap else logits


def _log_total(logits: Array) -> Array:
    """Log of the sum of exponentials (rows,)."""
    maximum = logits.max(axis=1)
    return np.asarray(np.log(np.exp(logits - maximum[:, None]).sum(axis=1)) + maximum)


def forward(call: Call, x: Array, targets: Array, weights: Array, head: Array) -> tuple[Array, ...]:
    counted, smoothing = targets >= 0, call["label_smoothing"]
    losses, logits = np.zeros(len(x)), _capped(call, x[counted] @ head.T)
    picked = np.take_along_axis(logits, targets[counted][:, None], axis=1)[:, 0]
    log_total = _log_total(logits)
    loss = log_total - (1.0 - smoothing) * picked - smoothing * logits.mean(axis=1)
    losses[counted] = (loss + call["z_loss"] * log_total**2) * weights[counted]
    return (losses,)


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...],
    x: Array, targets: Array, weights: Array, head: Array, store: Callable[[Array], Array] = lambda dlogits: dlogits,
) -> tuple[Array | None, ...]:
    counted, smoothing, cap = targets >= 0, call["label_smoothing"], call["logit_softcap"]
    logits = _capped(call, x[counted] @ head.T)
    log_total = _log_total(logits)[:, None]
    dlogits = np.exp(logits - log_total) * (1.0 + 2.0 * call["z_loss"] * log_total) - smoothing / head.shape[0]
    dlogits[np.arange(len(dlogits)), targets[counted]] -= 1.0 - smoothing
    dlogits *= (weights * gradients[0])[counted][:, None]
    dlogits = store(dlogits * (1.0 - (logits / cap) ** 2) if cap else dlogits)
    dx = np.zeros_like(x)
    dx[counted] = dlogits @ head
    return dx, None, None, dlogits.T @ x[counted]


def flops(attributes: Attributes, time: int) -> float:
    return 2.0 * float(attributes["channels"] * attributes["vocab_size"])


def scratch(attributes: Attributes, time: int) -> int:
    return _scratch_of_chunk(attributes) + gradient_room(int(attributes["vocab_size"]))


def _scratch_of_chunk(attributes: Attributes) -> int:
    head = 16  # where the next chunk begins
    wide = panel_width(attributes["vocab_size"])
    return head + CHUNK * (wide + 2 * int(attributes["channels"])) + wide


CROSS_ENTROPY = OpKind(
    "cross_entropy", build, forward, backward, sizes=("channels", "vocab_size"),
    numbers=("label_smoothing", "z_loss", "logit_softcap"), reads=(1,), matrix=4, depth_is_rows=False, flops=flops,
    scratch=scratch, together=CHUNK, backward_does_forward=True,
)


def build_bf16(
    p: Program, x: str, name: str, head: str, logit_softcap: float = 0.0, label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> str:
    """The same with its three products in bfloat16; logits, softmax and loss are float32."""
    return build(p, x, name, head, logit_softcap, label_smoothing, z_loss, "cross_entropy_bf16")


def forward_bf16(call: Call, x: Array, targets: Array, weights: Array, head: Array) -> tuple[Array, ...]:
    return forward(call, rounded(x), targets, weights, rounded(head))


def backward_bf16(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...],
    x: Array, targets: Array, weights: Array, head: Array,
) -> tuple[Array | None, ...]:
    return backward(call, gradients, outputs, rounded(x), targets, weights, rounded(head), rounded)


def scratch_bf16(attributes: Attributes, time: int) -> int:
    return _scratch_of_chunk(attributes) + ROOM + PANEL


CROSS_ENTROPY_BF16 = OpKind(
    "cross_entropy_bf16", build_bf16, forward_bf16, backward_bf16, sizes=("channels", "vocab_size"),
    numbers=("label_smoothing", "z_loss", "logit_softcap"), reads=(1,), matrix=4, depth_is_rows=False, pairs=True,
    flops=flops, scratch=scratch_bf16, backward_does_forward=True,
)


def build_logits(
    p: Program, x: str, name: str, head: str, logit_softcap: float = 0.0, kind: str = "logits"
) -> str:
    """The logits (V,) of the last token alone."""
    channels = p.width(x)
    p.parameter(head, (p.vocab_size, channels), deviation=0.02, decay=True)
    return p.append(
        kind, name, outputs=(p.buffer("logits", p.vocab_size, per_token=False),), inputs=(x,), parameters=(head,),
        channels=channels, vocab_size=p.vocab_size, logit_softcap=logit_softcap,
    )


def forward_logits(call: Call, x: Array, head: Array) -> tuple[Array, ...]:
    return (_capped(call, head @ x[-1]),)


LOGITS = OpKind(
    "logits", build_logits, forward_logits, None, sizes=("channels", "vocab_size"), numbers=("logit_softcap",),
    matrix=2, depth_is_rows=False, flops=flops,
)


def build_logits_bf16(p: Program, x: str, name: str, head: str, logit_softcap: float = 0.0) -> str:
    return build_logits(p, x, name, head, logit_softcap, "logits_bf16")


def forward_logits_bf16(call: Call, x: Array, head: Array) -> tuple[Array, ...]:
    return forward_logits(call, rounded(x), rounded(head))


def scratch_logits_bf16(attributes: Attributes, time: int) -> int:
    return ROOM


LOGITS_BF16 = OpKind(
    "logits_bf16", build_logits_bf16, forward_logits_bf16, None, sizes=("channels", "vocab_size"),
    numbers=("logit_softcap",), matrix=2, depth_is_rows=False, pairs=True, flops=flops, scratch=scratch_logits_bf16,
)
