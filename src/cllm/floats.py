"""Numerics rule 7 for arithmetic in Python and NumPy: rounding to nearest, with subnormals kept.

Every compiled door sets it for itself. But a library that was loaded may have set the calling thread to flush
subnormals or to round upward, and then 1.0 / 3.0 in Python has other bits too, and so has a number read from JSON.
"""

from __future__ import annotations

from contextlib import ContextDecorator

from cllm import kernels


class standard_floats(ContextDecorator):
    """Round to nearest and keep subnormals inside, in this thread; as a decorator too. Never around a yield."""

    def _recreate_cm(self) -> standard_floats:
        return standard_floats()  # for each call of what it decorates

    def __enter__(self) -> None:
        self._saved = kernels.enter_floats()

    def __exit__(self, *error: object) -> None:
        kernels.leave_floats(self._saved)
