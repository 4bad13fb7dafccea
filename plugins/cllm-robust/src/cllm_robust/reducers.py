"""The two reducers as cllm's host calls them: how many shards count, and how many of them are trimmed.

Letters of the shapes: S shards, n the length of a slice of the parameters.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from cllm.errors import ConfigError
from msgspec import Meta, Struct
from numpy.typing import NDArray

from cllm_robust.estimate import robust_sum

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class Median:
    """The coordinate-wise median of the shards' mean gradients, times the total weight.

    Yin et al. 2018, definition 1. For an even number of shards it is the mean of the two in the middle.
    """

    kind: Literal["gather"] = "gather"

    def combine(self, gradients: Float32, weights: Float64, out: Float32) -> None:
        """gradients (S, n) IN: sums over each shard's tokens; weights (S,) IN; out (n,) OUT."""
        robust_sum(gradients, weights, out, trim=(_n_counted(weights) - 1) // 2)


class TrimmedMeanConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """trim: shards to leave out at each end, for every parameter by itself"""

    trim: Annotated[int, Meta(ge=1, description="a whole number, 1 or more")] = 1


class TrimmedMean:
    """The coordinate-wise mean of the shards' mean gradients without the `trim` smallest and largest, times the weight.

    Yin et al. 2018, definition 2, with beta = trim / S.
    """

    kind: Literal["gather"] = "gather"

    def __init__(self, config: TrimmedMeanConfig) -> None:
        self._trim = config.trim

    def combine(self, gradients: Float32, weights: Float64, out: Float32) -> None:
        """gradients (S, n) IN: sums over each shard's tokens; weights (S,) IN; out (n,) OUT. Raises ConfigError."""
        n_counted = _n_counted(weights)
        if 0 < n_counted <= 2 * self._trim:
            raise ConfigError(
                "reducer robust.trimmed_mean",
                f"trim = {self._trim} and {n_counted} shards with counted tokens (of {len(weights)} shards)",
                f"more than {2 * self._trim} such shards, so that some are left",
                "lower [reducer] trim, raise [train] batch_size, or lower [train] micro_batch_size for more shards",
            )
        robust_sum(gradients, weights, out, self._trim)


def _n_counted(weights: Float64) -> int:
    """Shards with a counted token; NaN counts, for it must not vanish."""
    return int(np.count_nonzero(weights))
