"""The roof over this machine: most multiplications and additions a second, and most bytes, measured as it is now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from cllm import kernels

N_TRIES = 40  # so many that some fall into moments in which no other process has a core
ROUNDS = 400_000  # about 3 ms a try
STREAM_BYTES = 3 * 64 << 20  # three arrays, beyond any cache that a core has to itself


@dataclass(frozen=True)
class Peak:
    """Of `n_threads` together, the best of several tries."""

    n_threads: int
    flops: float  # float32 operations a second, a fused multiply-add counting two
    bandwidth: float  # bytes a second between memory and cores, read and written

    def attainable(self, flops: float, n_bytes: float) -> float:
        """Least seconds for work of this size (Williams, Waterman and Patterson 2009, the roofline)."""
        return max(flops / self.flops, n_bytes / self.bandwidth)


def measure_peak(n_threads: int) -> Peak:
    """Takes about a second."""
    n = STREAM_BYTES // 3 // 4
    b, c = np.ones(n, dtype=np.float32), np.ones(n, dtype=np.float32)
    a = np.zeros(n, dtype=np.float32)
    fma = _best(lambda: kernels.multiply_add(ROUNDS, n_threads))
    stream = _best(lambda: kernels.add_arrays(a, b, c, n_threads))
    return Peak(n_threads, n_threads * ROUNDS * kernels.FLOPS_PER_ROUND / fma, STREAM_BYTES / stream)


def _best(work: Callable[[], None]) -> float:
    times = []
    for _ in range(N_TRIES):
        begin = perf_counter()
        work()
        times.append(perf_counter() - begin)
    return min(times)
