"""Compiled parts of which somebody has addresses: what numba, ctypes or any compiler has brought forth, as objects.

What the functions must do stands in include/cllm/kernel_abi.h. Code that is compiled against the header hands over a
capsule by itself, from `__cllm_reducer__()`, `__cllm_check__()` or `__cllm_op__()`, and needs nothing from here.
"""

from __future__ import annotations

from typing import Literal

from cllm._kernels import foreign
from cllm.opened import as_python

__all__ = ["CompiledOp", "FoldReducer", "GatherReducer", "Scan", "as_python"]

class FoldReducer:
    """A reducer whose functions are known by address: `merge` and, if it has one, `finish` of cllm_reducer.

    keep: what must live as long as this object, such as numba's cfunc or ctypes' callback.
    """

    kind: Literal["fold"] = "fold"

    def __init__(self, merge: int, finish: int = 0, *, state: int = 0, describe: int = 0, keep: object = None) -> None:
        self._capsule = foreign.reducer_capsule(merge, finish, 0, 0, describe, state)
        self._keep = keep

    def __cllm_reducer__(self) -> object:
        return self._capsule


class GatherReducer:
    """A reducer whose function `combine` of cllm_reducer is known by address, and perhaps that of `scratch`."""

    kind: Literal["gather"] = "gather"

    def __init__(
        self, combine: int, scratch: int = 0, *, state: int = 0, describe: int = 0, keep: object = None
    ) -> None:
        self._capsule = foreign.reducer_capsule(0, 0, combine, scratch, describe, state)
        self._keep = keep

    def __cllm_reducer__(self) -> object:
        return self._capsule


class Scan:
    """The compiled side of a check, whose functions `scan` and `finish` of cllm_check are known by address.

    A check returns its capsule from `__cllm_check__()`: `return self._scan.__cllm_check__()`.
    """

    def __init__(
        self, scan: int, finish: int, n_partial: int, n_found: int, *, if_nonfinite: bool = False, state: int = 0,
        describe: int = 0, keep: object = None,
    ) -> None:
        flags = foreign.IF_NONFINITE if if_nonfinite else 0
        self._capsule = foreign.check_capsule(scan, finish, n_partial, n_found, flags, describe, state)
        self._keep = keep

    def __cllm_check__(self) -> object:
        return self._capsule


class CompiledOp:
    """An op whose functions `forward` and `backward` of cllm_op are known by address: OpKind's `compiled`."""

    def __init__(
        self, forward: int, backward: int = 0, *, state: int = 0, describe: int = 0, keep: object = None
    ) -> None:
        self._capsule = foreign.op_capsule(forward, backward, describe, state)
        self._keep = keep

    def __cllm_op__(self) -> object:
        return self._capsule
