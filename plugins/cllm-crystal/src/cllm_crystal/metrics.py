"""The two metrics: how similar the ids of neighbouring tokens are. They tell of the text, never of the model.

Token id i stands for the number i + 1, for id 0 is a token like any other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cllm.hooks import BatchView
from cllm.reduction import chain
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


class Gcd:
    """The mean of gcd(a, b) / max(a, b) over all tokens a and their successors b that are counted; NaN without any."""

    def measure(self, batch: BatchView) -> float:
        """Above 0, and 1 where all tokens are one."""
        return _mean(batch, gcd_similarity)


class Ulam:
    """The mean of 1 / (1 + d) with the distance d of a and b on Ulam's spiral, likewise."""

    def measure(self, batch: BatchView) -> float:
        """Above 0, and 1 where all tokens are one."""
        return _mean(batch, ulam_similarity)


def gcd_similarity(a: Int64, b: Int64) -> Float64:
    """gcd(a, b) / max(a, b) of two arrays of numbers from 1 on, element by element."""
    similarity: Float64 = np.gcd(a, b) / np.maximum(a, b)
    return similarity


def ulam_similarity(a: Int64, b: Int64) -> Float64:
    """1 / (1 + d) with the Euclidean distance d on Ulam's spiral, element by element."""
    (ax, ay), (bx, by) = ulam(a), ulam(b)
    distance: Float64 = np.sqrt((ax - bx) * (ax - bx) + (ay - by) * (ay - by))
    return 1.0 / (1.0 + distance)


def ulam(n: Int64) -> tuple[Int64, Int64]:
    """Where the numbers from 1 on stand: 1 at (0, 0), 2 at (1, 0), 3 at (1, 1), and on around, counterclockwise.

    Ring k ends with (2 k + 1)^2 at its lower right corner (k, -k), and goes back from there along four sides of 2 k:
    below, left, above, right.
    """
    ring = np.ceil((np.sqrt(n) - 1.0) / 2.0).astype(np.int64)
    side = 2 * ring
    back = (side + 1) * (side + 1) - n  # steps back from the corner
    sides = [back <= side, back <= 2 * side, back <= 3 * side]
    x = np.select(sides, [ring - back, -ring, back - 2 * side - ring], ring)
    y = np.select(sides, [-ring, back - side - ring, ring], ring - back + 3 * side)
    return x, y


def _mean(batch: BatchView, similarity: Callable[[Int64, Int64], Float64]) -> float:
    counted = batch.targets >= 0
    a, b = (ids[counted].astype(np.int64) + 1 for ids in (batch.inputs, batch.targets))
    return chain(similarity(a, b).tolist()) / len(a) if len(a) else float("nan")
