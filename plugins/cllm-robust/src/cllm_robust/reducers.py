"""The two reducers as cllm's host makes them: their options, and the compiled estimate that they hand over."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from cllm_robust.estimate import Estimate


class Median:
    """The coordinate-wise median of the shards' mean gradients, times the total weight.

    Yin et al. 2018, definition 1. For an even number of shards it is the mean of the two in the middle.
    """

    kind: Literal["gather"] = "gather"

    def __init__(self) -> None:
        self._estimate = Estimate()

    def __cllm_reducer__(self) -> object:
        return self._estimate.capsule()


class TrimmedMeanConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """trim: shards to leave out at each end, for every parameter by itself"""

    trim: Annotated[int, Meta(ge=1, le=1 << 32, description="a whole number, 1 or more")] = 1


class TrimmedMean:
    """The coordinate-wise mean of the shards' mean gradients without the `trim` smallest and largest, times the weight.

    Yin et al. 2018, definition 2, with beta = trim / S.
    """

    kind: Literal["gather"] = "gather"

    def __init__(self, config: TrimmedMeanConfig) -> None:
        self._estimate = Estimate(config.trim)

    def __cllm_reducer__(self) -> object:
        return self._estimate.capsule()
