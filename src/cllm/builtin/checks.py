"""Built-in stability checks: finite, which no run is without; clip; and spike, which remembers recent steps.

A comparison with NaN is false, so a step passes only where `value <= limit` is true, never because `value > limit` is
not. Only + - * / sqrt in float64 and in a fixed order: the same bits on every processor (numerics rule 5).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from cllm import kernels
from cllm.errors import CheckpointError
from cllm.hooks import Abort, Clip, DropShards, GradientView, Ok, Rewind, ShardView, SkipStep, UpdatedView, Verdict

Positive = Annotated[float, Meta(gt=0.0, description="a number above 0")]
AtLeastTwo = Annotated[int, Meta(ge=2, description="a whole number, 2 or more")]

# The deviation counts as at least this share of the mean. Of the loss, because a window of nearly equal values has next
# to no deviation, and any other value would lie hundreds of them away. Of the gradient norm, because its tail is long:
# windows whose deviation is a seventh of the mean are followed by 2.5 times the mean, some 10 deviations.
#
# Measured over 5,300 healthy steps (the demo with two seeds, with the help texts of Python 3.11 to 3.13, and at batch 4
# with twice the learning rate; shakespeare by characters and by bytes): the loss lay at most 4.1 deviations and 1.25
# times above the mean, the gradient norm up to 10.1 deviations but never over 4.1 times. With threshold 10 these shares
# put the limits at 1.1 and 6 times the mean, or higher: none of those steps is skipped, while 2.5 times the loss is
# caught everywhere from step 146 on, when the first fast fall has left the window, and 20 times the norm from step 154.
LEAST_DEVIATION = {"loss": 0.01, "gradient norm": 0.5}


_ACTIONS: Mapping[str, type[SkipStep] | type[Rewind] | type[Abort]] = {
    "skip": SkipStep, "rewind": Rewind, "abort": Abort,
}


class FiniteConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """action: abort the run, skip the step, rewind to an earlier state, or drop the shards that are not finite"""

    action: Literal["abort", "skip", "rewind", "drop"] = "abort"


class FiniteCheck:
    """Let nothing pass where the loss, an element of the gradient or an updated parameter is NaN or infinite."""

    def __init__(self, config: FiniteConfig | None = None) -> None:
        self._action = (config or FiniteConfig()).action

    def __cllm_check__(self) -> object:
        return kernels.finite_check()

    def after_scan(self, view: GradientView, found: tuple[float, ...]) -> Verdict:
        """Of a step that is not finite; found: how many elements are not, and the place of the first."""
        wrong = [
            f"{name} is {value}"
            for name, value in (("loss", view.loss), ("gradient norm", view.gradient_norm))
            if not math.isfinite(value)
        ]
        if found[0] == 0.0 and not math.isfinite(view.gradient_norm):
            wrong.append("yet each element of the gradient is finite: its squares are too large")
        return self._verdict(view, " and ".join(wrong) or "an element of the gradient is not finite")

    def after_update(self, view: UpdatedView) -> Verdict:
        if view.finite:
            return Ok()
        came = "the update has made a parameter that is not finite"
        if (at := view.spoilt) is not None:
            came = (
                f"the update has made {at.parameter}{list(at.index)} {at.value}, with the learning rate "
                f"{view.learning_rate:g} and the gradient {at.gradient:g} times {view.update.clip:g}"
            )
        return Rewind(came) if self._action == "rewind" else Abort(came)

    def _verdict(self, view: GradientView, came: str) -> Verdict:
        if self._action == "drop":
            shards = tuple(shard.shard for shard in view.shards() if _is_spoilt(shard))
            if shards:
                return DropShards(shards, came)
            return Abort(f"{came}, though no shard alone is")  # too large a sum, or a fault of the machine
        return _ACTIONS[self._action](came)


def _is_spoilt(shard: ShardView) -> bool:
    return not math.isfinite(shard.loss) or shard.gradient().n_nonfinite > 0


class ClipConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """max_norm: the largest norm that the gradient of all parameters together keeps"""

    max_norm: Positive = 1.0


class ClipCheck:
    """Scale a gradient whose global norm is above max_norm down to it."""

    def __init__(self, config: ClipConfig) -> None:
        self._max_norm = config.max_norm

    def after_reduction(self, view: GradientView) -> Verdict:
        if view.gradient_norm <= self._max_norm or not math.isfinite(view.gradient_norm):
            return Ok()  # what is not finite is left to FiniteCheck, which no run is without
        return Clip(self._max_norm / view.gradient_norm)


class SpikeConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """threshold: standard deviations above the mean of the window from which a value is a spike; a deviation counts
        as at least 1 % of the mean of losses, and half the mean of gradient norms

    window: steps that are remembered
    warmup: steps to see before the first judgement, at most window; left out, half of it
    action: skip the step, rewind to an earlier state, or abort the run
    """

    threshold: Positive = 10.0
    window: AtLeastTwo = 128
    warmup: AtLeastTwo | None = None
    action: Literal["skip", "rewind", "abort"] = "skip"

    def __post_init__(self) -> None:
        if self.warmup is not None and self.warmup > self.window:
            raise ValueError(f"warmup = {self.warmup} is more than window = {self.window}")


class SpikeCheck:
    """Skip (or abort at) a step whose loss or gradient norm lies `threshold` deviations above the recent steps' mean.

    A spike enters the window as the largest value that would have passed: one alone does not widen the window so far
    that the next goes unseen, and a lasting change of level is accepted after some steps instead of being skipped for
    ever.
    """

    def __init__(self, config: SpikeConfig) -> None:
        self._threshold = config.threshold
        self._warmup = max(2, config.window // 2) if config.warmup is None else config.warmup
        self._spike = _ACTIONS[config.action]
        self._size = config.window
        self._windows = {name: array("d") for name in ("loss", "gradient norm")}  # oldest first

    def after_reduction(self, view: GradientView) -> Verdict:
        values = {"loss": view.loss, "gradient norm": view.gradient_norm}
        if not all(map(math.isfinite, values.values())):
            return Ok()  # that is FiniteCheck's
        spikes = [spike for name, value in values.items() if (spike := self._take(name, value))]
        return self._spike(" and ".join(spikes)) if spikes else Ok()

    def state_dict(self) -> dict[str, list[float]]:
        """Return the windows, oldest values first."""
        return {name: window.tolist() for name, window in self._windows.items()}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take over the windows of a state_dict. Raises CheckpointError for anything else."""
        if state.keys() != self._windows.keys() or not all(_is_window(window) for window in state.values()):
            who, came = "check spike", f"a state of {', '.join(state) or 'nothing'}"
            raise CheckpointError(who, came, "windows of loss and gradient norm", "resume from another checkpoint")
        for name, window in self._windows.items():
            window[:] = array("d", state[name][-self._size :])

    def _take(self, name: str, value: float) -> str | None:
        """Put the value into its window; say so if it is a spike."""
        window = self._windows[name]
        if len(window) < self._warmup:
            self._append(window, value)
            return None
        mean, deviation = kernels.mean_and_deviation(window)
        deviation = max(deviation, LEAST_DEVIATION[name] * abs(mean))
        highest = mean + self._threshold * deviation
        if value <= highest and math.isfinite(highest):
            self._append(window, value)
            return None
        if math.isfinite(highest):
            self._append(window, highest)
        return (
            f"{name} {value:.6g} is above {highest:.6g}: "
            f"mean {mean:.6g} of recent steps and {self._threshold:g} deviations of {deviation:.6g}"
        )

    def _append(self, window: array[float], value: float) -> None:
        if len(window) == self._size:
            del window[0]
        window.append(value)


def _is_window(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in value
    )
