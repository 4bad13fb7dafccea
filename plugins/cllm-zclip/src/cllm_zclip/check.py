"""The check as cllm calls it: a gradient norm more than `z_threshold` deviations above the recent mean is a spike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from cllm.errors import CheckpointError
from cllm.hooks import Clip, GradientView, Ok, Verdict
from msgspec import Meta, Struct

from cllm_zclip.moments import Moments

Share = Annotated[float, Meta(gt=0.0, lt=1.0, description="a number above 0 and below 1")]
Positive = Annotated[float, Meta(gt=0.0, description="a number above 0")]
AtLeastTwo = Annotated[int, Meta(ge=2, description="a whole number, 2 or more")]

EPSILON = 1e-6  # is added to the deviation: after equal norms it is 0


class ZClipConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """z_threshold: deviations above the mean from which a norm is a spike

    alpha: how much the mean and the variance keep of themselves at each step
    warmup: steps whose norms make the first mean and variance, and are not clipped
    """

    z_threshold: Positive = 2.5
    alpha: Share = 0.97
    warmup: AtLeastTwo = 25


class ZClip:
    """Clip a spike to mean + z_threshold^2 / z deviations, and count it as if it had been no larger.

    z is how many deviations it lies above the mean: a spike at the threshold keeps its size, one far above becomes
    hardly more than the mean.
    """

    def __init__(self, config: ZClipConfig) -> None:
        self._config = config
        self._first: list[float] = []  # norms of the warm-up, until there are enough of them
        self._moments: Moments | None = None

    def after_reduction(self, view: GradientView) -> Verdict:
        norm = view.gradient_norm
        if not math.isfinite(norm):
            return Ok()  # cllm's finite check stops the run; here it must not enter the moments
        if self._moments is None:
            self._warm_up(norm)
            return Ok()
        limit = self._limit(norm, self._moments)
        self._moments = self._moments.with_value(limit, self._config.alpha)
        return Clip(limit / norm) if limit < norm else Ok()

    def state_dict(self) -> dict[str, Any]:
        """Return the norms of the warm-up, and mean and variance, if it is over."""
        moments = self._moments
        return {"first": list(self._first), "moments": [] if moments is None else [moments.mean, moments.variance]}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take over a state_dict. Raises CheckpointError for anything else."""
        first: Any = state.get("first")
        moments: Any = state.get("moments")
        sound = state.keys() == {"first", "moments"} and _are_numbers(first) and _are_numbers(moments)
        if not sound or len(moments) not in (0, 2) or not all(value >= 0 for value in (*first, *moments)):
            came = f"a state of {', '.join(state) or 'nothing'}"
            expected = "norms of the warm-up, and a mean and a variance or neither"
            raise CheckpointError("check zclip.norm", came, expected, "resume from another checkpoint")
        self._first = [float(value) for value in first]
        self._moments = Moments(float(moments[0]), float(moments[1])) if moments else None

    def _warm_up(self, norm: float) -> None:
        self._first.append(norm)
        if len(self._first) >= self._config.warmup:
            self._moments, self._first = Moments.of(self._first), []

    def _limit(self, norm: float, moments: Moments) -> float:
        """What the norm may be: itself, unless it is a spike."""
        z = (norm - moments.mean) / (moments.deviation + EPSILON)
        if z <= self._config.z_threshold:
            return norm
        limit = moments.mean + self._config.z_threshold * moments.deviation * (self._config.z_threshold / z)
        # Where all norms so far were 0 there is nothing to clip to.
        return limit if limit / norm > 0.0 else norm


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in values
    )
