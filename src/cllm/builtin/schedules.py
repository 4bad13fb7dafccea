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


class CosineConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """warmup_steps: updates until the factor is 1

    decay_steps: updates, those of the warm-up included, until it is minimum_ratio; left out, the steps of the run. It
        is written into the run's config.toml, so that a run that is resumed for longer keeps its course.
    minimum_ratio: the factor from then on
    """

    warmup_steps: CountOrZero = 0
    decay_steps: Count | None = None
    minimum_ratio: Ratio = 0.1


class Cosine:
    """Half a cosine from 1 to the minimum (Loshchilov and Hutter 2017, without restarts), after the warm-up."""

    def __init__(self, config: CosineConfig) -> None:
        if config.decay_steps is None:
            came = "no decay_steps, and the steps of the run are not known"
            raise ConfigError("schedule cosine", came, "a whole number", "set [schedule] decay_steps")
        if config.decay_steps <= config.warmup_steps:
            came = f"warmup_steps = {config.warmup_steps} of decay_steps = {config.decay_steps}"
            raise ConfigError("schedule cosine", came, "fewer steps of warm-up", "lower [schedule] warmup_steps")
        self._warmup_steps = config.warmup_steps
        self._decay_steps = config.decay_steps
        self._minimum = config.minimum_ratio

    def __call__(self, step: int) -> float:
        if step < self._warmup_steps:
            return warmup(step, self._warmup_steps)
        if step >= self._decay_steps:
            return self._minimum
        progress = (step - self._warmup_steps) / (self._decay_steps - self._warmup_steps)
        return self._minimum + (1.0 - self._minimum) * (0.5 * (1.0 + cos64(PI * progress)))


def warmup(step: int, warmup_steps: int) -> float:
    """Return the factor of update number `step`, from 0, in a warm-up of `warmup_steps`."""
    return min(1.0, (step + 1) / (warmup_steps + 1))
