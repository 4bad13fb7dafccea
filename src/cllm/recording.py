"""What each thread of an engine did and when: timestamps that the executor writes while somebody wants them.

Off, they cost one comparison an op. On, two readings of the clock an op, some 50 ns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm import kernels
from cllm.lowering import EVENT

PACK, FOLD, MEET = kernels.executor.PACK, kernels.executor.FOLD, kernels.executor.MEET
IDLE = kernels.executor.IDLE


class Recording:
    """Events (EVENT) of every worker, in the order in which they ended."""

    def __init__(self, workers: NDArray[Any], capacity: int) -> None:
        self._workers = workers
        self._memory = [np.zeros(capacity, dtype=EVENT) for _ in workers]

    def threads(self) -> list[NDArray[Any]]:
        """One array (n,) of EVENT a worker."""
        counts = self._workers["n_events"]
        return [memory[:n] for memory, n in zip(self._memory, counts, strict=True)]

    def begin(self) -> None:
        for record, memory in zip(self._workers, self._memory, strict=True):
            record["events"], record["n_events"], record["max_events"] = memory.ctypes.data, 0, len(memory)

    def end(self) -> None:
        self._workers["events"] = 0


@contextmanager
def recording(workers: NDArray[Any], capacity: int) -> Iterator[Recording]:
    """Record while inside; at most `capacity` events a worker, later ones are lost."""
    made = Recording(workers, capacity)
    made.begin()
    try:
        yield made
    finally:
        made.end()
