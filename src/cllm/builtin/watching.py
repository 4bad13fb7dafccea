"""Stability checks that watch a run over many steps: update_ratio, dead_gradient and plateau. None is on by itself.

As in checks.py, a comparison with NaN must not let it pass, and arithmetic is + - * / in a fixed order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from cllm.errors import CheckpointError
from cllm.hooks import Abort, GradientView, LowerLR, Ok, UpdatedView, UpdateView, Verdict

Positive = Annotated[float, Meta(gt=0.0, description="a number above 0")]
Factor = Annotated[float, Meta(gt=0.0, lt=1.0, description="a number above 0 and below 1")]
Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]


class UpdateRatioConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """limit: the largest share of its norm by which a parameter may change in one update
    every: steps between measurements, each of which costs some 5 % of a step
    """

    limit: Positive = 0.1
    every: Count = 20


class UpdateRatioCheck:
    """Lower the learning rate until the next measurement where an update moves a matrix by too large a share.

    Biases and the weights of norms are left alone: they begin at 0 or 1 and may move fast.
    """

    def __init__(self, config: UpdateRatioConfig) -> None:
        self._limit, self._every = config.limit, config.every
        self._factor, self._reason = 1.0, ""

    def before_update(self, view: UpdateView) -> Verdict:
        if view.gradient.step % self._every == 0:
            view.measure()
        return LowerLR(self._factor, self._reason) if self._factor < 1.0 else Ok()

    def after_update(self, view: UpdatedView) -> Verdict:
        """Of the ratio that the full learning rate would have had: a lowered one must not undo itself."""
        measured = [(view.update_ratio(name), name) for name in view.update.gradient.matrices]
        ratios = [(ratio / self._factor, name) for ratio, name in measured if ratio is not None]
        if not ratios:
            return Ok()
        for ratio, name in ratios:
            if not ratio < float("inf"):
                return Abort(f"{name} changed by {ratio} of its norm in one update")
        largest, name = max(ratios)
        self._factor = 1.0 if largest <= self._limit else self._limit / largest
        self._reason = f"{name} would change by {largest:.3g} of its norm in one update, above {self._limit:g}"
        return Ok()

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self._factor, "reason": self._reason}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._factor, self._reason = _number(state, "factor", "update_ratio"), str(state["reason"])


class DeadGradientConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """steps: for how many a parameter's gradient may be no larger than the floor
    every: steps between looks
    floor: a norm; 0 for exactly nothing
    """

    steps: Count = 100
    every: Count = 10
    floor: Annotated[float, Meta(ge=0.0, description="a number of at least 0")] = 0.0


class DeadGradientCheck:
    """Abort where a parameter has had no gradient for many steps: what is cut off from the loss does not learn."""

    def __init__(self, config: DeadGradientConfig) -> None:
        self._config = config
        self._since: dict[str, int] = {}  # parameter -> the step from which on it had no gradient at any look

    def after_reduction(self, view: GradientView) -> Verdict:
        if view.step % self._config.every:
            return Ok()
        dead = [name for name in view.parameters if view.parameter_norm(name) <= self._config.floor]
        self._since = {name: self._since.get(name, view.step) for name in dead}
        long = [name for name, since in self._since.items() if view.step - since >= self._config.steps]
        if not long:
            return Ok()
        came = f"no gradient above {self._config.floor:g} for {self._config.steps} steps"
        return Abort(f"{', '.join(sorted(long))}: {came}")

    def state_dict(self) -> dict[str, Any]:
        return {"since": self._since}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._since = dict(state["since"])


class PlateauConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """steps: how long the mean loss may stand still before the learning rate is lowered
    factor: by how much, each time
    least: the smallest factor that it comes to
    threshold: the share by which a loss must be lower to count as lower
    """

    steps: Count = 1000
    factor: Factor = 0.5
    least: Factor = 0.01
    threshold: Annotated[float, Meta(ge=0.0, lt=1.0, description="a number of at least 0 and below 1")] = 1e-3


class PlateauCheck:
    """Lower the learning rate, for good, each time the loss has not fallen for some steps.

    Single batches scatter, so the loss is a running mean over a tenth of that time.
    """

    def __init__(self, config: PlateauConfig) -> None:
        self._config = config
        self._weight = 1.0 / max(1.0, config.steps / 10)
        self._factor, self._waited = 1.0, 0
        self._mean: float | None = None
        self._best = float("inf")

    def after_reduction(self, view: GradientView) -> Verdict:
        if not view.loss < float("inf"):
            return Ok()  # what is not finite is judged by the check finite, which no run is without
        self._mean = view.loss if self._mean is None else self._mean + self._weight * (view.loss - self._mean)
        if self._mean < self._best * (1.0 - self._config.threshold):
            self._best, self._waited = self._mean, 0
        else:
            self._waited += 1
        if self._waited >= self._config.steps:
            self._factor, self._waited = max(self._config.least, self._factor * self._config.factor), 0
        if self._factor == 1.0:
            return Ok()
        return LowerLR(self._factor, f"the loss stood still: learning rate times {self._factor:g}")

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self._factor, "waited": self._waited, "mean": self._mean, "best": self._best}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        self._factor, self._best = _number(state, "factor", "plateau"), _number(state, "best", "plateau")
        self._waited = int(_number(state, "waited", "plateau"))
        self._mean = None if state.get("mean") is None else _number(state, "mean", "plateau")


def _number(state: Mapping[str, Any], name: str, check: str) -> float:
    value = state.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckpointError(f"check {check}", f"{name} = {value!r}", "a number", "resume from another checkpoint")
    return value
