"""gelu and gelu_tanh: x times the normal distribution at x, exact or in GPT-2's form (Hendrycks and Gimpel 2016)."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program

K, CUBIC = sqrt(2.0 / pi), 0.044715


def build_gelu(p: Program, x: str, name: str) -> str:
    return _build(p, x, name, "gelu")


def build_gelu_tanh(p: Program, x: str, name: str) -> str:
    return _build(p, x, name, "gelu_tanh")


def _build(p: Program, x: str, name: str, kind: str) -> str:
    """In training the slope is kept instead of x: the forward has most of it at hand, the backward multiplies."""
    channels = p.width(x)
    slope = p.buffer(f"{name}.slope", channels) if p.mode == "train" else None
    return p.append(
        kind, name, outputs=(p.buffer(f"{name}.y", channels),), saved=(slope,), inputs=(x,), channels=channels
    )


def erf(x: Array) -> Array:
    """float64, by Abramowitz and Stegun 7.1.5 (series) where it converges and by its complement's fraction beyond."""
    small = np.abs(x) < 3.0
    return np.where(small, _erf_series(np.where(small, x, 0.0)), _erf_fraction(np.where(small, 4.0, x)))


def _erf_series(x: Array) -> Array:
    term, total = x, x
    for n in range(1, 80):
        term = -term * x * x / n
        total = total + term / (2 * n + 1)
    return 2.0 / sqrt(pi) * total


def _erf_fraction(x: Array) -> Array:
    a = np.abs(x)
    fraction: Any = a
    for n in range(120, 0, -1):
        fraction = a + n / 2.0 / fraction
    with np.errstate(under="ignore"):
        return np.asarray(np.sign(x) * (1.0 - np.exp(-a * a) / (sqrt(pi) * fraction)))


def forward_gelu(call: Call, x: Array) -> tuple[Array, ...]:
    with np.errstate(under="ignore"):
        density = np.exp(-0.5 * x * x) / sqrt(2.0 * pi)
    distribution = 0.5 * (1.0 + erf(x / sqrt(2.0)))
    return x * distribution, distribution + x * density


def forward_gelu_tanh(call: Call, x: Array) -> tuple[Array, ...]:
    t = np.tanh(K * (x + CUBIC * x**3))
    slope = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * K * (1.0 + 3.0 * CUBIC * x * x)
    return 0.5 * x * (1.0 + t), slope


def backward(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array
) -> tuple[Array | None, ...]:
    return (gradients[0] * outputs[1],)


GELU = OpKind("gelu", build_gelu, forward_gelu, backward, sizes=("channels",), reads=(1,))
GELU_TANH = OpKind("gelu_tanh", build_gelu_tanh, forward_gelu_tanh, backward, sizes=("channels",), reads=(1,))
