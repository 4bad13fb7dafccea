"""An exponential moving average of the parameters, which is measured and used instead of them (Polyak averaging).

It is kept beside an optimizer's state, as part of it: so it is saved, restored, gone back with and digested as that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, kernels
from cllm.errors import CheckpointError
from cllm.hooks.protocols import Optimizer
from cllm.memory import FLOAT, TWO_MOMENTS

if TYPE_CHECKING:
    from cllm.program import Parameter

Float32 = NDArray[np.float32]

AVERAGE = "average"  # (P,) float32 of the optimizer's state
UPDATES = "averaged_updates"


class Averaging:
    """An optimizer that averages what it makes: after each update, average += (1 - d) (parameters - average).

    d is `decay` or, among the first updates, less: (1 + n) / (10 + n) after n of them, as in TensorFlow's
    ExponentialMovingAverage, so that the values that a run starts from are soon forgotten.
    """

    def __init__(self, optimizer: Optimizer, decay: float) -> None:
        self._optimizer, self._decay = optimizer, decay
        self.bytes_per_parameter = getattr(optimizer, "bytes_per_parameter", TWO_MOMENTS) + FLOAT

    @property
    def learning_rate(self) -> float:
        return self._optimizer.learning_rate

    def init(self, parameters: Sequence[Parameter]) -> None:
        self._optimizer.init(parameters)
        self.average: Float32 = aligned.zeros(sum(parameter.size for parameter in parameters))  # (P,)
        self._n_updates = 0

    def step(
        self, parameters: Float32, gradient: Float32, *, learning_rate: float, gradient_scale: float, n_threads: int
    ) -> bool | None:
        if not self._n_updates:
            self.average[:] = parameters
        finite = self._optimizer.step(
            parameters, gradient, learning_rate=learning_rate, gradient_scale=gradient_scale, n_threads=n_threads
        )
        decay = min(self._decay, (1 + self._n_updates) / (10 + self._n_updates))
        kernels.average(self.average, parameters, 1.0 - decay, n_threads)
        self._n_updates += 1
        return finite

    def state_dict(self) -> dict[str, Any]:
        return {**self._optimizer.state_dict(), AVERAGE: self.average, UPDATES: self._n_updates}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        own = {name: value for name, value in state.items() if name not in (AVERAGE, UPDATES)}
        self._optimizer.load_state_dict(own)
        self.average[:] = average_of(state, self.average.size)
        self._n_updates = int(state[UPDATES])


def average_of(state: Mapping[str, Any], n: int) -> Float32:
    """The average (n,) in the state of an optimizer. Raises CheckpointError where there is none, or another."""
    average: Any = state.get(AVERAGE)
    is_array = isinstance(average, np.ndarray) and average.shape == (n,) and average.dtype == np.float32
    if is_array and isinstance(state.get(UPDATES), int):
        taken: Float32 = average
        return taken
    came, todo = "no average of this model's parameters", "set [train] ema_decay to what the run was started with"
    raise CheckpointError("checkpoint", came, f"float32 ({n},), as [train] ema_decay asks for", todo)
