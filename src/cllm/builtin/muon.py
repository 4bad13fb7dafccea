"""Muon (Jordan et al. 2024): matrices move by the orthogonal one next to their momentum, all others by AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import field
from numpy.typing import NDArray

from cllm import kernels
from cllm.builtin.groups import runs_of
from cllm.builtin.optimizers import AdamW, AdamWConfig, Share

if TYPE_CHECKING:
    from cllm.program import Parameter

Float32 = NDArray[np.float32]

# Of the quintic a x + b x^3 + c x^5, which is steep at 0: five steps bring singular values of 0.01 to about 1.
A, B, C = np.float32(3.4445), np.float32(-4.7750), np.float32(2.0315)
N_STEPS = 5
WORTH_SHARING = 1 << 24  # multiplications of a product: some 0.3 ms, a hundred times what it takes to begin together
SMALLEST_MOMENT = np.float32(2.0**-100)  # numerics rule 7


class MuonConfig(AdamWConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """learning_rate: base, times the schedule; it means what AdamW's means, of both
    momentum: of the matrices
    betas: of AdamW's moments; epsilon: AdamW's; weight_decay: of matrices only
    adamw: names of the matrices that AdamW updates, with * and ?: embeddings and heads; those that fit nothing are
        passed over
    groups: as those of adamw
    """

    momentum: Share = 0.95
    adamw: list[str] = field(default_factory=lambda: ["*wte*", "*wpe*", "*embed*", "lm_head*"])


class Muon(AdamW):
    """AdamW, in which a matrix has its momentum in the place of the first moment, and no use for the second.

    An update has the size of AdamW's (Liu et al. 2025): its elements' root mean square is 0.2 for a full rank.
    """

    config: MuonConfig

    def __init__(self, config: MuonConfig) -> None:
        super().__init__(config)

    def init(self, parameters: Sequence[Parameter]) -> None:
        super().init(parameters)
        self._matrices = [(p, *_treatment(self._runs, p)) for p in parameters if p.trainable and self._is_muons(p)]
        # What AdamW does not update is frozen for it, wherever it lies.
        rest = [replace(p, trainable=p.trainable and not self._is_muons(p)) for p in parameters]
        self._runs = runs_of(rest, self.config.weight_decay, self.config.groups)

    def _is_muons(self, parameter: Parameter) -> bool:
        return len(parameter.shape) == 2 and not any(fnmatchcase(parameter.name, one) for one in self.config.adamw)

    def step(
        self, parameters: Float32, gradient: Float32, *, learning_rate: float, gradient_scale: float, n_threads: int
    ) -> bool:
        finite = super().step(
            parameters, gradient, learning_rate=learning_rate, gradient_scale=gradient_scale, n_threads=n_threads
        )
        factor = np.float32(self.config.momentum)
        for parameter, decay, scale in self._matrices:
            place = slice(parameter.offset, parameter.offset + parameter.size)
            weight, momentum, given = (
                array[place].reshape(parameter.shape) for array in (parameters, self._first, gradient)
            )
            scaled = given * np.float32(gradient_scale)
            momentum *= factor
            momentum += scaled
            momentum[np.abs(momentum) < SMALLEST_MOMENT] = 0.0
            direction = orthogonal(scaled + factor * momentum, n_threads)
            rate = learning_rate * scale
            weight *= np.float32(1.0 - rate * decay)
            weight -= np.float32(0.2 * sqrt(max(parameter.shape)) * rate) * direction
            finite = finite and kernels.count_nonfinite(parameters[place]) == 0
        return finite


def orthogonal(matrix: Float32, n_threads: int = 1) -> Float32:
    """Singular values near 1 and the singular vectors of `matrix` (rows, columns), by Newton and Schulz's iteration.

    0 stays 0, and of what is not finite all becomes NaN. Sums are chains of kernels.matmul: the same bits on any number
    of threads.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = np.ascontiguousarray(matrix if wide else matrix.T)
    rows = len(x)
    if rows * x.size < WORTH_SHARING:
        n_threads = 1
    square, cube, product = np.empty((rows, rows), np.float32), np.empty((rows, rows), np.float32), np.empty_like(x)
    largest = kernels.largest(x.reshape(-1))  # first, so that no square overflows or is lost
    if largest == 0.0 or largest - largest != 0.0:
        return np.full_like(matrix, largest - largest)
    x = x / np.float32(largest)
    kernels.matmul(square, x, x, transpose_b=True, n_threads=n_threads)
    norm = 0.0
    for value in square.diagonal().tolist():
        norm += value
    x *= np.float32(1.0 / sqrt(norm))
    for _ in range(N_STEPS):
        kernels.matmul(square, x, x, transpose_b=True, n_threads=n_threads)
        kernels.matmul(cube, square, square, n_threads=n_threads)
        kernels.matmul(product, B * square + C * cube, x, n_threads=n_threads)
        x = A * x + product
    return x if wide else np.ascontiguousarray(x.T)


def _treatment(runs: NDArray[Any], parameter: Parameter) -> tuple[float, float]:
    """Weight decay and learning-rate scale of the run that the parameter lies in."""
    for offset, size, decay, scale in runs.tolist():
        if offset <= parameter.offset < offset + size:
            return decay, scale
    raise AssertionError(f"{parameter.name} lies in no run")
