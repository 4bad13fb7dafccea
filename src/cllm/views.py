"""What checks are told of a step: views of plain numbers, and of those that cost something, how to ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, kernels
from cllm.binding import Batch
from cllm.engine import Engine
from cllm.hooks.reports import BatchView, GradientView, Magnitude, ShardView, Spoilt, UpdatedView, UpdateView
from cllm.outcomes import Gradient
from cllm.program import Program
from cllm.state import TrainState, first_non_finite

Float32 = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)


def view_of(batch: Batch, step: int) -> BatchView:
    """A batch as metrics see it, after the update that made it `step` of them."""
    return BatchView(
        step=step, batch_index=batch.index, inputs=_read_only(batch.inputs), targets=_read_only(batch.targets),
        weights=_read_only(batch.weights),
    )


class Views:
    """Makes the views of a run's steps."""

    def __init__(self, program: Program, engine: Engine, state: TrainState, n_threads: int) -> None:
        self._program, self._engine, self._state, self._n_threads = program, engine, state, n_threads
        trained = [parameter for parameter in program.parameters if parameter.trainable]
        self._names = tuple(parameter.name for parameter in trained)
        self._matrices = tuple(parameter.name for parameter in trained if len(parameter.shape) > 1)
        self._change: Change | None = None  # made when a check first asks for it
        self._measured = False

    def of_gradient(
        self, gradient: Gradient, batch: Batch, learning_rate: float, dropped: frozenset[int],
        snapshots: Callable[[], tuple[int, ...]],
    ) -> GradientView:
        """The reduced gradient."""
        return GradientView(
            step=self._state.step, batch_index=self._state.batch_index, loss=gradient.loss, gradient_norm=gradient.norm,
            finite=_is_finite(gradient.loss) and _is_finite(gradient.norm), learning_rate=learning_rate,
            shard_losses=gradient.shard_losses, weight_sum=gradient.weight_sum, parameter_norm=self._engine.norms.of,
            magnitude=lambda name: self._magnitude(gradient.gradient, name), parameters=self._names,
            matrices=self._matrices, history=tuple(self._state.course.recent), dropped=dropped,
            shards=lambda: tuple(self._of_shards(gradient, batch, dropped)), snapshots=snapshots,
            scan=lambda check: check.scan(gradient.gradient, self._n_threads),
        )

    def _of_shards(self, gradient: Gradient, batch: Batch, dropped: frozenset[int]) -> Iterator[ShardView]:
        """The shards that are not left out, by their ids."""
        pairs = zip(gradient.shard_losses, gradient.shard_weights, strict=True)
        for shard, (loss, weight) in enumerate(pairs):
            if shard not in dropped:
                yield ShardView(
                    shard=shard, n_shards=self._engine.n_shards, step=self._state.step,
                    batch_index=self._state.batch_index, loss=loss, weight_sum=weight,
                    gradient=self._shard_magnitude(batch, shard),
                )

    def before_update(self, view: GradientView, clip: float, learning_rate: float) -> UpdateView:
        """An update that is about to be made; if a check asks for it, its changes will be measured."""
        self._measured = False
        return UpdateView(gradient=view, clip=clip, learning_rate=learning_rate, measure=self._measure)

    def after_update(
        self, view: UpdateView, gradient: Float32, learning_rate: float, finite: bool | None
    ) -> UpdatedView:
        """One that has been made with gradient (P,); finite: as the optimizer says."""
        if finite is None:
            finite = kernels.count_nonfinite(self._state.parameters) == 0
        change = self._change if self._measured else None
        ratio = change.of(self._state.parameters) if change else _not_measured
        spoilt = None if finite else self._spoilt(gradient)
        return UpdatedView(
            update=view, learning_rate=learning_rate, finite=finite, spoilt=spoilt, update_ratio=ratio
        )

    def _spoilt(self, gradient: Float32) -> Spoilt | None:
        parameters = dict(self._program.views(self._state.parameters))
        for name, given in self._program.views(gradient):
            place = first_non_finite(parameters[name])
            if place is not None:
                index = tuple(map(int, np.unravel_index(place, given.shape)))
                return Spoilt(name, index, float(parameters[name][index]), float(given[index]))
        return None

    def _measure(self) -> None:
        if not self._measured:
            self._change = self._change or Change(self._program, self._n_threads)
            self._change.begin(self._state.parameters)
            self._measured = True

    def _magnitude(self, gradient: Float32, name: str) -> Magnitude:
        part = dict(self._program.views(gradient))[name].reshape(-1)
        return Magnitude(self._engine.norms.of(name), kernels.largest(part), kernels.count_nonfinite(part))

    def _shard_magnitude(self, batch: Batch, shard: int) -> Callable[[], Magnitude]:
        def magnitude() -> Magnitude:
            gradient = self._engine.shard_gradient(self._state.parameters, batch, shard)
            norm = kernels.Norms(self._program.parameters).compute(gradient, self._n_threads)
            return Magnitude(norm, kernels.largest(gradient), kernels.count_nonfinite(gradient))

        return magnitude


class Change:
    """How far one update moves each parameter: a copy of them all is kept during the update."""

    def __init__(self, program: Program, n_threads: int) -> None:
        self._before = aligned.empty(program.n_trainable)
        self._n_threads = n_threads
        self._norms, self._norms_before = kernels.Norms(program.parameters), kernels.Norms(program.parameters)

    def begin(self, parameters: Float32) -> None:
        """An update is about to be made."""
        self._before[:] = parameters[: self._before.size]
        self._norms_before.compute(self._before, self._n_threads)

    def of(self, parameters: Float32) -> Callable[[str], float | None]:
        """The ratio of norms by name: that of the change over that before it, None from 0."""
        np.subtract(parameters[: self._before.size], self._before, out=self._before)
        self._norms.compute(self._before, self._n_threads)

        def ratio(name: str) -> float | None:
            before = self._norms_before.of(name)
            return self._norms.of(name) / before if before > 0.0 else None

        return ratio


def _read_only(array: NDArray[T]) -> NDArray[T]:
    view = array.view()
    view.flags.writeable = False
    return view


def _not_measured(name: str) -> None:
    return None


def _is_finite(x: float) -> bool:
    return x - x == 0.0
