"""How much of a step its threads were at work: processor time inside parallel regions against wall time.

A thread's work is what it computes; that it spins while others are not ready is none. What is measured is shown, and
decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter

import numpy as np

SPREAD = 8  # float64 from one thread's sum to the next: no two write to one cache line


@dataclass(frozen=True)
class Utilisation:
    """Shares of 1, of one step."""

    useful_cpu: float  # the time that threads were at work, over threads times wall time
    load_balance: float  # the mean thread's work over the busiest one's
    serial_share: float  # of the wall time: outside all parallel regions
    parallel_efficiency: float  # what one thread would take for it all, over threads times wall time


class Meter:
    """Adds up the work of each thread in all parallel regions that are entered while the meter is."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self.parallel_seconds = 0.0
        self._busy = np.zeros((n_threads, SPREAD))
        self.address = int(self._busy.ctypes.data)

    def __enter__(self) -> Meter:
        """From zero."""
        self.parallel_seconds = 0.0
        self._busy[...] = 0.0
        self._token = _METER.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        _METER.reset(self._token)

    @property
    def busy(self) -> list[float]:
        """Seconds of work, by thread."""
        return [float(seconds) for seconds in self._busy[:, 0]]

    def utilisation(self, seconds: float) -> Utilisation:
        """Of a step that took so many seconds of wall time."""
        return utilisation_of(self.busy, self.parallel_seconds, seconds)


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


class region:
    """Around one call into a parallel region; gives where its threads add up their work (clock.h), 0 for nowhere."""

    __slots__ = ("_begin", "_meter")

    def __init__(self, n_threads: int) -> None:
        meter = _METER.get()
        self._meter = meter if meter is not None and n_threads <= meter.n_threads else None

    def __enter__(self) -> int:
        self._begin = perf_counter()
        return self._meter.address if self._meter is not None else 0

    def __exit__(self, *error: object) -> None:
        if self._meter is not None:
            self._meter.parallel_seconds += perf_counter() - self._begin


def utilisation_of(busy: Sequence[float], parallel_seconds: float, seconds: float) -> Utilisation:
    """From the seconds of work by thread, those of all parallel regions, and those of all."""
    available, total, most = len(busy) * seconds, 0.0, max(busy)
    for one in busy:
        total += one
    serial = min(seconds, max(0.0, seconds - parallel_seconds))
    return Utilisation(
        useful_cpu=_share(total, available),
        load_balance=_share(total, len(busy) * most),
        serial_share=_share(serial, seconds) if seconds > 0.0 else 0.0,
        parallel_efficiency=_share(serial + total, available),
    )


def _share(part: float, whole: float) -> float:
    """Clocks of different kinds disagree by microseconds: not above 1."""
    return min(1.0, part / whole) if whole > 0.0 else 1.0
