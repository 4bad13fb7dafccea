"""Built-in reducers: the dyadic tree, which is the default, and the plain sum in the order of shards."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cllm import kernels

Float32 = NDArray[np.float32]


class TreeReducer:
    """Sums along the tree of aligned subtrees (numerics rule 4), inside the parallel region."""

    kind: Literal["fold"] = "fold"
    is_sum = True  # so that in a run that does without its promise an MPI may add instead

    def __cllm_reducer__(self) -> object:
        return kernels.sum_reducer()


class OrderedReducer:
    """((g0 + g1) + g2) + ..., as a loop over shards would add them; holds all shards' gradients."""

    kind: Literal["gather"] = "gather"

    def combine(self, gradients: Float32, weights: NDArray[np.float64], out: Float32) -> None:
        kernels.ordered_sum(out, gradients)
