"""Arrays that begin with a cache line: a vector of 64 bytes that lies across two lines is loaded twice.

NumPy aligns to 16 bytes. What the kernels walk through in whole vectors comes from here; no bit depends on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LINE = 64  # bytes
SIGNALLING_NAN = 0x7FA00001


def empty(n: int) -> NDArray[np.float32]:
    """(n,) float32, undefined."""
    return _from_line(np.empty(n + LINE // 4, dtype=np.float32), n)


def poison(array: NDArray[np.float32]) -> None:
    """Fill with signalling NaNs: whoever reads an element before it is written spoils all that follows."""
    array.view(np.uint32)[:] = SIGNALLING_NAN


def zeros(n: int) -> NDArray[np.float32]:
    """(n,) float32 of +0; pages that nobody touches take no memory."""
    return _from_line(np.zeros(n + LINE // 4, dtype=np.float32), n)


def _from_line(memory: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    first = -int(memory.ctypes.data) % LINE // 4
    return memory[first : first + n]
