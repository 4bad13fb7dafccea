"""The states of a run that it can go back to: those of its last scheduled checkpoints, and its beginning.

Which they are follows from the config alone, so that a run that was killed and resumed goes back to the same ones as
one that was not. A checkpoint that an interruption has left does not count, nor what happens to be in memory: copies
that are held there only save the reading.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cllm import checkpoint
from cllm.course import Course
from cllm.errors import CheckpointError
from cllm.generations import generation_path, scheduled
from cllm.hooks.remembering import bring_back, memory_of, remembering
from cllm.state import Snapshot, TrainState


class Earlier:
    """Keeps copies of saved states in memory, as many as a budget holds, and finds the others."""

    def __init__(
        self, state: TrainState, folder: Path, every: int, keep: int, budget: int, begin: Callable[[], None]
    ) -> None:
        """state: as it begins. folder, every, keep: of the checkpoints. budget: bytes of copies.

        begin: gives the state's parameters and optimizer their first values, where the run was not begun with weights.
        """
        self._state, self._folder, self._every, self._keep, self._budget = state, folder, every, keep, budget
        self._begin = begin
        self._first = {label: memory_of(check) for label, check in remembering(state.checks).items()}
        self._copies: dict[int, Snapshot] = {}

    def steps(self) -> tuple[int, ...]:
        """The steps that the run can go back to, oldest first."""
        return (0, *scheduled(self._state.step, self._every, self._keep))

    def keep(self) -> None:
        """Copy the state, which has just been saved, if it is a scheduled one and fits; older copies make room."""
        step = self._state.step
        if self._budget and step in scheduled(step, self._every, self._keep):
            self._copies[step] = _copied(self._state.snapshot())
            while sum(map(_n_bytes, self._copies.values())) > self._budget:
                del self._copies[min(self._copies)]

    def go_back(self, at_most: int) -> list[str]:
        """Put the state to the newest of these steps that is not later than `at_most`, or to the beginning.

        Returns warnings of checkpoints that cannot be used; CheckpointError where there is none that can.
        """
        problems: list[str] = []
        *others, beginning = sorted((step for step in self.steps() if step <= max(at_most, 0)), reverse=True)
        for step in others:
            try:
                self._go_to(step)
                return problems
            except CheckpointError as error:
                problems.append(f"cannot go back to step {step}: {error.came}")
        self._go_to(beginning)
        return problems

    def _go_to(self, step: int) -> None:
        path = generation_path(self._folder, step)
        if (copy := self._copies.get(step)) is not None:
            self._state.restore(copy)
        elif step or self._state.course.from_weights:
            checkpoint.restore(self._state, checkpoint.load(path))
        else:
            self._begin()
            for label, check in remembering(self._state.checks).items():
                bring_back(check, self._first[label])
            self._state.step, self._state.batch_index, self._state.skipped = 0, 0, []
            self._state.course = Course()

    def forget_after(self, step: int) -> None:
        """Drop the states of later steps, in memory and on the disk: they belong to a course that was given up."""
        self._copies = {one: copy for one, copy in self._copies.items() if one <= step}
        checkpoint.remove_after(self._folder, step)


def _copied(snapshot: Snapshot) -> Snapshot:
    return replace(
        snapshot,
        parameters={name: array.copy() for name, array in snapshot.parameters.items()},
        optimizer=deepcopy(dict(snapshot.optimizer)),
        checks=deepcopy(dict(snapshot.checks)),
    )


def _n_bytes(snapshot: Snapshot) -> int:
    values: list[Any] = [*snapshot.parameters.values(), *snapshot.optimizer.values()]
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))
