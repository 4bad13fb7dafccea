"""The reducer: shards are added up twelve at a time, as the spheres that touch one are twelve.

Letters of the shapes: S shards, n the length of a slice of the parameters.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from cllm import kernels
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

AROUND = 12  # the kissing number of three dimensions: equal spheres that can touch one at the same time


class Kissing:
    """The sum along a tree with twelve branches: of shards 0 to 11, 12 to 23, ..., then of those sums, up to one.

    A centre adds what is around it one after the other, by ascending shard; the last one of a level may have fewer.
    """

    kind: Literal["gather"] = "gather"

    def combine(self, gradients: Float32, weights: Float64, out: Float32) -> None:
        """gradients (S, n) IN: sums over each shard's tokens; weights (S,) not used; out (n,) OUT."""
        level = gradients
        while len(level) > AROUND:
            level = _centres(level)
        kernels.ordered_sum(out, level)


def _centres(level: Float32) -> Float32:
    """(S, n) -> (S / 12, rounded up, n): the sums of every twelve rows."""
    sums = np.empty((-(-len(level) // AROUND), level.shape[1]), dtype=np.float32)
    for centre, out in enumerate(sums):
        kernels.ordered_sum(out, level[AROUND * centre : AROUND * (centre + 1)])
    return sums
