"""Built-in schedules: factors on the base learning rate, a pure function of the number of updates made so far.

Warm-up rises in equal steps: update number `step` (from 0) of `warmup_steps` gets (step + 1) / (warmup_steps + 1), so
that no update is lost to a factor of 0 and the first after it gets 1.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from cllm.errors import ConfigError
from cllm.kernels import cos64

CountOrZero = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
Ratio = Annotated[float, Meta(ge=0.0, le=1.0, description="a number from 0 to 1")]

PI = 3.141592653589793


class ConstantConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """warmup_steps: updates until the factor is 1"""

    warmup_steps: CountOrZero = 0


class Constant:
    """1 after the warm-up."""

    def __init__(self, config: ConstantConfig) -> None:
        self._warmup_steps = config.warmup_steps

    def __call__(self, step: int) -> float:
        return warmup(step, self._warmup_steps)


class _Falling:
    """1 from the warm-up until `_begin`, and then down to the minimum at `_end`: on a straight line, unless said so."""

    def __init__(self, name: str, warmup_steps: int, decay_steps: int | None, minimum: float) -> None:
        """ConfigError unless decay_steps are known and more than the warm-up's."""
        if decay_steps is None:
            came = "no decay_steps, and the steps of the run are not known"
            raise ConfigError(f"schedule {name}", came, "a whole number", "set [schedule] decay_steps")
        if decay_steps <= warmup_steps:
            came = f"warmup_steps = {warmup_steps} of decay_steps = {decay_steps}"
            raise ConfigError(f"schedule {name}", came, "fewer steps of warm-up", "lower [schedule] warmup_steps")
        self._warmup_steps, self._begin, self._end = warmup_steps, warmup_steps, decay_steps
        self._minimum = minimum

    def __call__(self, step: int) -> float:
        if step < self._begin:
            return warmup(step, self._warmup_steps)
        if step >= self._end:
            return self._minimum
        return self._minimum + (1.0 - self._minimum) * self._left(step)

    def _left(self, step: int) -> float:
        """How much of the fall is still to come, 1 to 0."""
        return (self._end - step) / (self._end - self._begin)


class CosineConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """warmup_steps: updates until the factor is 1

    decay_steps: updates, those of the warm-up included, until it is minimum_ratio; left out, the steps of the run. It
        is written into the run's config.toml, so that a run that is resumed for longer keeps its course.
    minimum_ratio: the factor from then on
    """

    warmup_steps: CountOrZero = 0
    decay_steps: Count | None = None
    minimum_ratio: Ratio = 0.1


class Cosine(_Falling):
    """Half a cosine from 1 to the minimum (Loshchilov and Hutter 2017, without restarts), after the warm-up."""

    def __init__(self, config: CosineConfig) -> None:
        super().__init__("cosine", config.warmup_steps, config.decay_steps, config.minimum_ratio)

    def _left(self, step: int) -> float:
        return 0.5 * (1.0 + cos64(PI * ((step - self._begin) / (self._end - self._begin))))


class LinearConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """warmup_steps: updates until the factor is 1

    decay_steps: as that of cosine
    minimum_ratio: the factor from then on
    """

    warmup_steps: CountOrZero = 0
    decay_steps: Count | None = None
    minimum_ratio: Ratio = 0.0


class Linear(_Falling):
    """A straight line from 1 to the minimum, after the warm-up."""

    def __init__(self, config: LinearConfig) -> None:
        super().__init__("linear", config.warmup_steps, config.decay_steps, config.minimum_ratio)


class WSDConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """warmup_steps: updates until the factor is 1

    decay_steps: updates in all, until it is minimum_ratio; left out, the steps of the run, as that of cosine
    cooldown_steps: updates of these in which it falls; left out, a fifth of them
    minimum_ratio: the factor from then on
    """

    warmup_steps: CountOrZero = 0
    decay_steps: Count | None = None
    cooldown_steps: Count | None = None
    minimum_ratio: Ratio = 0.0


class WSD(_Falling):
    """Warm-up, stable, decay (Hu et al. 2024): 1 until the cool-down, and then a straight line to the minimum."""

    def __init__(self, config: WSDConfig) -> None:
        super().__init__("wsd", config.warmup_steps, config.decay_steps, config.minimum_ratio)
        cooldown = config.cooldown_steps or -(-self._end // 5)
        if config.cooldown_steps and config.warmup_steps + cooldown > self._end:
            came = f"warmup_steps = {config.warmup_steps} and cooldown_steps = {cooldown} of {self._end}"
            raise ConfigError("schedule wsd", came, "no more than decay_steps", "lower one of them")
        self._begin = max(config.warmup_steps, self._end - cooldown)


def warmup(step: int, warmup_steps: int) -> float:
    """Return the factor of update number `step`, from 0, in a warm-up of `warmup_steps`."""
    return min(1.0, (step + 1) / (warmup_steps + 1))
