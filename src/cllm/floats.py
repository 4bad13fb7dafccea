"""Numerics rule 7 for arithmetic in Python and NumPy: rounding to nearest, with subnormals kept.

Every compiled door sets it for itself. But a library that was loaded may have set the calling thread to flush
subnormals or to round upward, and then 1.0 / 3.0 in Python has other bits too, and so has a number read from JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cllm import kernels


@contextmanager
def standard_floats() -> Iterator[None]:
    """Round to nearest and keep subnormals inside, in this thread; as a decorator too. Never around a yield."""
    saved = kernels.enter_floats()
    try:
        yield
    finally:
        kernels.leave_floats(saved)
