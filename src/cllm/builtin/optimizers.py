"""Built-in optimizers: AdamW, Lion and SGD, updates in place by one kernel call for all parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from cllm import aligned, kernels
from cllm.builtin.groups import GroupConfig, runs_of
from cllm.errors import CheckpointError

if TYPE_CHECKING:
    from cllm.program import Parameter

Float32 = NDArray[np.float32]
Positive = Annotated[float, Meta(gt=0.0, description="a number above 0")]
NotNegative = Annotated[float, Meta(ge=0.0, description="a number of at least 0")]
Share = Annotated[float, Meta(ge=0.0, lt=1.0, description="a number of at least 0 and below 1")]


class AdamWConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """learning_rate: base, times the schedule; betas: of the two moments; weight_decay: of matrices only.

    groups: parameters that are treated otherwise, as [[optimizer.groups]] with match, learning_rate_scale and
        weight_decay
    """

    learning_rate: Positive = 1e-3
    betas: tuple[Share, Share] = (0.9, 0.95)
    epsilon: Positive = 1e-8
    weight_decay: NotNegative = 0.1
    groups: list[GroupConfig] = []


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019). Moments are (P,) float32, flat as parameters."""

    bytes_per_parameter = 8

    def __init__(self, config: AdamWConfig) -> None:
        self.config = config
        self.learning_rate = config.learning_rate

    def init(self, parameters: Sequence[Parameter]) -> None:
        n = sum(parameter.size for parameter in parameters if parameter.trainable)
        self._runs = runs_of(parameters, self.config.weight_decay, self.config.groups)
        self._first, self._second = aligned.zeros(n), aligned.zeros(n)
        # beta^t as a product that the state keeps: a pow() of t would differ between math libraries.
        self._powers = (1.0, 1.0)

    def step(
        self, parameters: Float32, gradient: Float32, *, learning_rate: float, gradient_scale: float, n_threads: int
    ) -> bool:
        beta1, beta2 = self.config.betas
        self._powers = (self._powers[0] * beta1, self._powers[1] * beta2)
        return kernels.adamw(
            parameters, gradient, self._first, self._second, self._runs, learning_rate=learning_rate,
            betas=self.config.betas, epsilon=self.config.epsilon,
            corrections=(1.0 - self._powers[0], 1.0 - self._powers[1]),
            gradient_scale=gradient_scale, n_threads=n_threads,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "first_moment": self._first, "second_moment": self._second,
            "beta1_power": self._powers[0], "beta2_power": self._powers[1],
        }

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        take(self._first, state, "first_moment")
        take(self._second, state, "second_moment")
        self._powers = (number(state, "beta1_power"), number(state, "beta2_power"))


class LionConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """learning_rate: base, times the schedule, and a third to a tenth of AdamW's; betas: of the step and of the
        momentum; weight_decay: of matrices only, and three to ten times AdamW's

    groups: as those of adamw
    """

    learning_rate: Positive = 1e-4
    betas: tuple[Share, Share] = (0.9, 0.99)
    weight_decay: NotNegative = 1.0
    groups: list[GroupConfig] = []


class Lion:
    """Steps of one size, in the direction of the momentum's sign (Chen et al. 2023); the momentum is (P,) float32."""

    bytes_per_parameter = 4

    def __init__(self, config: LionConfig) -> None:
        self.config = config
        self.learning_rate = config.learning_rate

    def init(self, parameters: Sequence[Parameter]) -> None:
        self._runs = runs_of(parameters, self.config.weight_decay, self.config.groups)
        self._momentum = aligned.zeros(sum(parameter.size for parameter in parameters if parameter.trainable))

    def step(
        self, parameters: Float32, gradient: Float32, *, learning_rate: float, gradient_scale: float, n_threads: int
    ) -> bool:
        return kernels.lion(
            parameters, gradient, self._momentum, self._runs, learning_rate=learning_rate, betas=self.config.betas,
            gradient_scale=gradient_scale, n_threads=n_threads,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"momentum": self._momentum}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        take(self._momentum, state, "momentum")


class SGDConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """learning_rate: base, times the schedule; momentum: 0 for none; weight_decay: of matrices only.

    groups: as those of adamw
    """

    learning_rate: Positive = 1e-2
    momentum: Share = 0.0
    weight_decay: NotNegative = 0.0
    groups: list[GroupConfig] = []


class SGD:
    """Stochastic gradient descent; with momentum, velocity = momentum * velocity + gradient."""

    def __init__(self, config: SGDConfig) -> None:
        self.config = config
        self.learning_rate = config.learning_rate
        self.bytes_per_parameter = 4 if config.momentum > 0.0 else 0
        self._velocity: Float32 | None = None

    def init(self, parameters: Sequence[Parameter]) -> None:
        self._runs = runs_of(parameters, self.config.weight_decay, self.config.groups)
        if self.config.momentum > 0.0:
            n = sum(parameter.size for parameter in parameters if parameter.trainable)
            self._velocity = aligned.zeros(n)

    def step(
        self, parameters: Float32, gradient: Float32, *, learning_rate: float, gradient_scale: float, n_threads: int
    ) -> bool:
        return kernels.sgd(
            parameters, gradient, self._velocity, self._runs, learning_rate=learning_rate,
            momentum=self.config.momentum, gradient_scale=gradient_scale, n_threads=n_threads,
        )

    def state_dict(self) -> dict[str, Any]:
        return {} if self._velocity is None else {"velocity": self._velocity}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        if self._velocity is not None:
            take(self._velocity, state, "velocity")


def take(own: Float32, state: Mapping[str, Any], name: str) -> None:
    """Copy state[name] into own; CheckpointError unless it has the same shape and dtype."""
    value = state.get(name)
    if not isinstance(value, np.ndarray) or value.shape != own.shape or value.dtype != own.dtype:
        found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
        raise _unfit(name, found, f"{own.dtype} {own.shape}")
    own[...] = value


def number(state: Mapping[str, Any], name: str) -> float:
    value = state.get(name)
    if not isinstance(value, float):
        raise _unfit(name, repr(value), "a number")
    return value


def _unfit(name: str, came: str, expected: str) -> CheckpointError:
    return CheckpointError(
        "optimizer", f"{name} = {came}", expected, "resume with the optimizer that the run was started with"
    )
