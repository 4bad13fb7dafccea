"""The communicator of cllm over MPI: all ranks of the world that mpiexec has started.

It is called from the main thread alone, and never while cllm's threads compute. launcher.py begins it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from cllm.errors import PluginError
from msgspec import Struct
from numpy.typing import NDArray

from cllm_mpi.launcher import begin, n_started

Float32 = NDArray[np.float32]

FAREWELL = 0.5  # seconds
FRAME = 1024  # bytes of the words that go in one message; longer ones take a second


class MpiConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fast: whether MPI adds the gradients itself, in an order of its own: then bits depend on the number of ranks"""

    fast: bool = False


class MpiCommunicator:
    """The world of MPI, of which this process is one rank."""

    def __init__(self, config: MpiConfig) -> None:
        """Raises PluginError where there is no MPI, or another one than the launcher's."""
        self._mpi = begin()
        self._world = self._mpi.COMM_WORLD
        self.rank, self.size, self.fast = self._world.Get_rank(), self._world.Get_size(), config.fast
        started = n_started(os.environ)
        if started > self.size:
            raise PluginError(
                "communicator mpi", f"a launcher that has started {started} processes, each a world of {self.size}",
                "one world of them all", "use the mpiexec of the MPI that mpi4py has loaded; see `cllm-mpi`'s README",
            )

    def tell(self, words: bytes) -> list[bytes]:
        """One message of fixed length; a second one where some rank has more to say."""
        own = np.zeros(FRAME, dtype=np.uint8)
        own[:8].view(np.int64)[0] = len(words)
        own[8 : 8 + len(words)] = np.frombuffer(words[: FRAME - 8], dtype=np.uint8)
        heard = np.empty((self.size, FRAME), dtype=np.uint8)
        self._world.Allgather(own, heard)
        sizes = heard[:, :8].copy().view(np.int64)[:, 0]
        if sizes.max() <= FRAME - 8:
            return [heard[rank, 8 : 8 + size].tobytes() for rank, size in enumerate(sizes)]
        return self._tell_long(words, [int(size) for size in sizes])

    def _tell_long(self, words: bytes, sizes: Sequence[int]) -> list[bytes]:
        heard = np.empty(sum(sizes), dtype=np.uint8)
        begins = [sum(sizes[:rank]) for rank in range(self.size)]
        self._world.Allgatherv(np.frombuffer(words, dtype=np.uint8), [heard, sizes, begins, self._mpi.BYTE])
        return [heard[begin : begin + size].tobytes() for begin, size in zip(begins, sizes, strict=True)]

    def exchange(self, sent: Sequence[Float32], received: Sequence[Float32]) -> None:
        """Every pair of ranks at once; what a rank sends itself is copied."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        waiting = [self._world.Irecv(received[rank], rank) for rank in others if received[rank].size]
        waiting += [self._world.Isend(sent[rank], rank) for rank in others if sent[rank].size]
        received[self.rank][:] = sent[self.rank]
        self._mpi.Request.Waitall(waiting)

    def gather(self, whole: Float32, bounds: Sequence[int]) -> None:
        sizes = [last - first for first, last in pairwise(bounds)]
        self._world.Allgatherv(self._mpi.IN_PLACE, [whole, sizes, list(bounds[:-1]), self._mpi.FLOAT])

    def add_up(self, total: Float32) -> None:
        self._world.Allreduce(self._mpi.IN_PLACE, total)

    def abort(self, message: str) -> None:
        """The launcher hears of the end beside what is printed, and might not pass that on: it gets time."""
        print(f"cllm: {message}; all ranks end", file=sys.stderr, flush=True)
        time.sleep(FAREWELL)
        self._world.Abort(1)
