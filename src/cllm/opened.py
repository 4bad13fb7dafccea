"""Capsules of the kernel ABI, opened: compiled parts of whatever package, looked at and ready for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cllm._kernels import foreign
from cllm.errors import KernelError, PluginError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cllm.hooks.protocols import Reducer

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

KNOWN_FLAGS = {"reducer": 0, "check": foreign.IF_NONFINITE, "op": 0}
ABI = f"{foreign.MAJOR}.{foreign.MINOR}"  # the version of the kernel ABI that this cllm has
SEE = "see cllm/kernel_abi.h, in the folder cllm.get_include()"


def _capsule(part: object, kind: str, who: str) -> object:
    """What the part hands over, if it is a struct of this kind whose version is known. Raises PluginError."""
    capsule = getattr(part, f"__cllm_{kind}__")()
    name = foreign.name_of(capsule)
    if name != f"cllm.{kind}":
        came = f"a capsule named {name!r}" if name is not None else f"{type(capsule).__name__} without a name"
        raise PluginError(who, f"__cllm_{kind}__() returned {came}", f'a capsule named "cllm.{kind}"', SEE)
    size, major, minor, flags = foreign.head_of(capsule)
    if major != foreign.MAJOR:
        expected = f"version {foreign.MAJOR}.{foreign.MINOR}, as this cllm has it"
        raise PluginError(who, f"kernel ABI {major}.{minor}", expected, "install versions that go together")
    if size < foreign.SIZES[kind]:
        expected = f"at least {foreign.SIZES[kind]}, which cllm_{kind} has in version {foreign.MAJOR}.0"
        raise PluginError(who, f"struct_size {size}", expected, f"set it to sizeof(cllm_{kind})")
    if flags & ~KNOWN_FLAGS[kind]:
        raise PluginError(who, f"flags {flags:#x}", f"none but {KNOWN_FLAGS[kind]:#x}", "install a newer cllm")
    return capsule


def abi_of(part: object, kind: str) -> str | None:
    """The version of the kernel ABI for which a part is compiled, as in 1.0; None of one in Python. Raises PluginError.

    kind: "reducer", "check" or "op"; of others there are none.
    """
    if not hasattr(part, f"__cllm_{kind}__"):
        return None
    _, major, minor, _ = foreign.head_of(_capsule(part, kind, f"{kind} {type(part).__name__}"))
    return f"{major}.{minor}"


class _Opened:
    """What is the same of all: an address for the engine, and errors for statuses of its own."""

    def __init__(self, record: foreign.Part, who: str) -> None:
        self._part, self._who = record, who

    @property
    def address(self) -> int:
        """Of its struct."""
        return self._part.address

    def refusal(self, status: int) -> KernelError:
        """The error that a status of its own stands for."""
        text = self._part.describe(status)
        came = f"status {status}: {text}" if text else f"status {status}, which it does not describe"
        return KernelError(self._who, came, "status 0", "what it means is the package's to say")

    def _refuse(self, status: int) -> None:
        if status != 0:
            raise self.refusal(status)


class OpenedReducer(_Opened):
    """A compiled reducer, for use inside the parallel region by its address, and from Python like any other."""

    def __init__(self, part: object, who: str) -> None:
        self._record = foreign.Reducer(_capsule(part, "reducer", who), part)
        super().__init__(self._record, who)
        kinds = self._record.kinds
        if len(kinds) != 1:
            came = "both merge and combine" if kinds else "neither merge nor combine"
            raise PluginError(who, came, "one of the two", SEE)
        self.kind: Any = kinds[0]
        if (stated := getattr(part, "kind", self.kind)) != self.kind:
            came = f"kind = {stated!r} and a struct that makes it a {self.kind}"
            raise PluginError(who, came, "one kind", f"set kind to {self.kind!r}, or hand over other functions")

    def merge(self, left: Float32, right: Float32, first: int = 0) -> None:
        """left (n,) is merged with right (n,); first: place of element 0 among the parameters. Raises KernelError."""
        self._refuse(self._record.merge(_written(left), _read(right), first, left.size))

    def finish(self, total: Float32, n_shards: int, first: int = 0) -> None:
        """total (n,) becomes the sum over the shards. Raises KernelError."""
        self._refuse(self._record.finish(_written(total), first, total.size, n_shards))

    def combine(
        self, gradients: Sequence[Float32] | Float32, weights: Float64, out: Float32, first: int = 0, n_threads: int = 1
    ) -> None:
        """out (n,) OUT, from gradients (S, n) and weights (S,). Raises KernelError."""
        import numpy as np

        from cllm.meter import region

        if len(gradients) > foreign.MOST_SHARDS:
            came, todo = f"{len(gradients)} shards", "raise [train] micro_batch_size"
            raise KernelError(self._who, came, f"at most {foreign.MOST_SHARDS} for a compiled gather reducer", todo)
        rows = np.array([_read(row) for row in gradients], dtype=np.uint64)
        counted = np.ascontiguousarray(weights, dtype=np.float64)
        step = max(1, self._record.scratch(len(rows)))
        scratch = np.empty((n_threads, step), dtype=np.float32)
        with region(n_threads) as busy:
            status = self._record.combine(
                _written(out), rows.ctypes.data, counted.ctypes.data, len(rows), first, out.size, scratch.ctypes.data,
                step, n_threads, busy,
            )
        self._refuse(status)


class OpenedCheck(_Opened):
    """A compiled check: what it finds in a reduced gradient."""

    def __init__(self, part: object, who: str) -> None:
        capsule = _capsule(part, "check", who)
        self._record = foreign.Check(capsule, part)
        super().__init__(self._record, who)
        self.if_nonfinite = bool(foreign.head_of(capsule)[3] & foreign.IF_NONFINITE)
        if not self._record.is_whole:
            came = f"scan or finish is NULL, or n_partial and n_found are {self._record.sizes}"
            raise PluginError(who, came, f"two functions, and sizes from 0 to {foreign.CHUNK}", SEE)

    def scan(self, gradient: Float32, n_threads: int) -> tuple[float, ...]:
        """What its `finish` makes of gradient (P,). Raises KernelError."""
        import numpy as np

        from cllm.meter import region

        n_partial, n_found = self._record.sizes
        partials = np.empty((-(-gradient.size // foreign.CHUNK), n_partial), dtype=np.float64)
        found = np.empty(n_found, dtype=np.float64)
        with region(n_threads) as busy:
            status = self._record.scan(
                _read(gradient), gradient.size, partials.ctypes.data, found.ctypes.data, n_threads, busy
            )
        self._refuse(status)
        return tuple(found.tolist())


class OpenedOp(_Opened):
    """A compiled op: for the engine's records of it."""

    def __init__(self, part: object, who: str) -> None:
        record = foreign.OpRecord(_capsule(part, "op", who), part)
        super().__init__(record, who)
        self.directions = record.directions
        if "forward" not in self.directions:
            raise PluginError(who, "forward is NULL", "a function", SEE)


def _read(array: Any) -> int:
    from cllm import kernels

    return kernels.address(array, who="a compiled part")


def _written(array: Any) -> int:
    if not array.flags.writeable:
        raise KernelError("a compiled part", "a read-only array", "one to be written in place", "pass a copy")
    return _read(array)


def open_reducer(part: object, who: str) -> OpenedReducer | None:
    """The compiled side of a reducer, None if it has none. who: for errors. Raises PluginError."""
    return OpenedReducer(part, who) if hasattr(part, "__cllm_reducer__") else None


def as_python(reducer: Reducer, who: str = "reducer") -> Any:
    """A reducer as an object with the methods of its kind, whether it is compiled or not. Raises PluginError."""
    return open_reducer(reducer, who) or reducer


def open_check(part: object, who: str) -> OpenedCheck | None:
    """The compiled side of a check, None if it has none. who: for errors. Raises PluginError."""
    return OpenedCheck(part, who) if hasattr(part, "__cllm_check__") else None
