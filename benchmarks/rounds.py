"""Rounds in which every side runs once, A B C A B C, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.process import Run, Worker

QUIET = 0.1  # of a core: what others may use during a run that counts
MOST = 4  # times as many rounds as were asked for are made at the most


@dataclass(frozen=True)
class Rounds:
    """The rounds that count: of each, a run of every side."""

    runs: list[tuple[Run, ...]]
    disturbed: int  # left out
    quiet: bool


def measure(sides: Sequence[tuple[Worker, int]], n_rounds: int) -> Rounds:
    """Rounds that others left alone; all that were made, where too few were. With each side, the steps of its runs."""
    quiet: list[tuple[Run, ...]] = []
    others: list[tuple[Run, ...]] = []
    while len(quiet) < n_rounds and len(quiet) + len(others) < MOST * n_rounds:
        runs = tuple(side.run(n_steps) for side, n_steps in sides)
        (quiet if all(run.others <= QUIET for run in runs) else others).append(runs)
    if len(quiet) < n_rounds:
        return Rounds(quiet + others, 0, quiet=False)
    return Rounds(quiet, len(others), quiet=True)
