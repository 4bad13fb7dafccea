"""Steps as a check sees them, made up: calm ones, and whatever a test wants to be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.hooks.calling import Judges
from cllm.hooks.reports import GradientView, Magnitude, Past, ShardView, UpdatedView, UpdateView
from cllm.hooks.verdicts import Decision

Float32 = NDArray[np.float32]

N = 40_001  # elements of a gradient: two chunks of the kernel ABI and a rest
MATRICES = ("transformer.wte.weight", "transformer.h.0.mlp.c_fc.weight")
PARAMETERS = (*MATRICES, "transformer.h.0.mlp.c_fc.bias")
N_SHARDS, LEARNING_RATE = 4, 1e-3


@dataclass(frozen=True)
class Moment:
    """One step: its number, its loss and gradient norm, its gradient (n,), and by which share it changes weights.

    The norm of each parameter's gradient, and the loss of each shard, are those of the whole.
    """

    step: int
    loss: float
    gradient_norm: float
    gradient: Float32
    update_ratio: float = 1e-3
    history: tuple[Past, ...] = ()

    @property
    def finite(self) -> bool:
        numbers = (self.loss, self.gradient_norm, self.update_ratio)
        return bool(np.isfinite(numbers).all() and np.isfinite(self.gradient).all())

    def view(self, n_threads: int = 2) -> GradientView:
        """What checks are given; n_threads: of the scan of a compiled one."""
        size = Magnitude(self.gradient_norm, self.gradient_norm, 0 if self.finite else 1)

        def shards() -> tuple[ShardView, ...]:
            return tuple(
                ShardView(i, N_SHARDS, self.step, self.step, self.loss, 192.0, lambda: size) for i in range(N_SHARDS)
            )

        def scan(opened: Any) -> tuple[float, ...]:
            found: tuple[float, ...] = opened.scan(self.gradient, n_threads)
            return found

        return GradientView(
            self.step, self.step, self.loss, self.gradient_norm, self.finite, LEARNING_RATE, (self.loss,) * N_SHARDS,
            768.0, lambda name: self.gradient_norm, lambda name: size, PARAMETERS, MATRICES, self.history,
            shards=shards, snapshots=lambda: (0,), scan=scan,
        )


def small_gradient() -> Float32:
    """A gradient (N,) of normal draws."""
    return np.random.default_rng(5).standard_normal(N).astype(np.float32)


def calm(n: int, first: int = 0) -> Iterator[Moment]:
    """n steps whose loss falls slowly and whose gradient norm hardly moves."""
    gradient, history = small_gradient(), list[Past]()
    for step in range(first, first + n):
        loss, norm = 3.0 - step / 1024.0 + step * 7919 % 13 / 512.0, 1.0 + step * 104729 % 17 / 64.0
        yield Moment(step, loss, norm, gradient, history=tuple(history[-256:]))
        history.append(Past(step + 1, loss, norm, LEARNING_RATE))


def decisions(judges: Judges, moment: Moment) -> tuple[Decision, ...]:
    """What becomes of a step: before the update and, if it is made, after it."""
    view = moment.view()
    decision = judges.after_gradient(view)
    if decision.kind != "step":
        return (decision,)
    rate = view.learning_rate * decision.learning_rate_factor
    asked = UpdateView(view, decision.clip, rate, lambda: None)
    decision = judges.before_update(asked)
    if decision.kind != "step":
        return (decision,)
    made = UpdatedView(asked, rate, moment.finite, None, lambda name: moment.update_ratio)
    return decision, judges.after_update(made)


def objects(decided: tuple[Decision, ...]) -> bool:
    """Whether a check had something against the step."""
    return any(one.kind != "step" or one.clip < 1.0 or one.learning_rate_factor < 1.0 for one in decided)
