"""The communicator of a run in one process: it is rank 0 of 1, and whatever it says it hears."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class Single:
    """One rank."""

    rank, size, fast = 0, 1, False

    def tell(self, words: bytes) -> list[bytes]:
        return [words]

    def exchange(self, sent: Sequence[Float32], received: Sequence[Float32]) -> None:
        received[0][:] = sent[0]

    def gather(self, whole: Float32, bounds: Sequence[int]) -> None:
        """All of it is here."""

    def add_up(self, total: Float32) -> None:
        """There is nothing to add."""

    def abort(self, message: str) -> None:
        sys.exit(f"cllm: {message}")
