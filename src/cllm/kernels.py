"""The checked public door to the compiled kernels: which instruction set runs, and typed functions over arrays.

Engine, built-ins and plugins come in here; nothing else imports _kernels. Arrays are C-contiguous NumPy arrays
of the stated dtype; outputs come first and are written in place.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from array import array
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cllm import env
from cllm._kernels import cpu, foreign
from cllm.errors import KernelError, UsageError
from cllm.meter import region
from cllm.philox import SEED_BITS

if TYPE_CHECKING:
    from cllm.program import Parameter

Float32 = NDArray[np.float32]

__all__ = [
    "BF16_NATIVE", "CHECKED", "FLOPS_PER_ROUND", "ISA", "NUMERICS_VERSION", "OPENMP", "Norms", "adamw", "add",
    "add_arrays", "address", "at", "cos64", "count_nonfinite", "enter_floats", "erf64", "executor", "exp64",
    "finite_check", "foreign_kernels", "largest", "leave_floats", "lion", "log64", "map_float32", "matmul",
    "mean_and_deviation", "multiply_add", "normal", "op_kernels", "ordered_sum", "pow64", "refuse_two_runtimes",
    "scale", "segments", "sgd", "sin64", "sum_address", "sum_reducer", "tanh64", "use_native_bf16",
]

# Bits change only with this number (numerics rule 11); it stands in every checkpoint.
NUMERICS_VERSION = 0 if cpu.freed() else 1

OP_MODULES = (
    "activation", "attention", "attention_bf16", "dropout", "embedding", "fault", "linear", "loss",
    "norm", "residual", "rmsnorm", "rotary",
)

BF16_MODULES = ("attention_bf16", "executor", "linear", "loss")


def choose_instruction_set() -> str:
    """CLLM_ISA, else the best that this processor has and this build brings. Raises UsageError."""
    runs = [name for name in cpu.instruction_sets() if _is_built(name)]
    asked = env.isa()
    if asked is None:
        return runs[0]
    if asked not in runs:
        raise UsageError("CLLM_ISA", asked, f"one that this machine runs: {', '.join(runs)}", "unset CLLM_ISA")
    return asked


def _is_built(name: str) -> bool:
    return importlib.util.find_spec(f"cllm._kernels.executor_{name}") is not None


ISA = choose_instruction_set()
OPENMP = cpu.openmp()
CHECKED = cpu.checked()


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"cllm._kernels.{name}_{ISA}")


if TYPE_CHECKING:
    import cllm._kernels.executor_portable as executor
    import cllm._kernels.finite_portable as _finite
    import cllm._kernels.initial_portable as _initial
    import cllm._kernels.matrix_portable as _matrix
    import cllm._kernels.optimizer_portable as _optimizer
    import cllm._kernels.peak_portable as _peak
    import cllm._kernels.reduce_portable as _reduce
    import cllm._kernels.scalars_portable as _scalars
else:
    executor = _load("executor")
    _finite = _load("finite")
    _initial = _load("initial")
    _matrix = _load("matrix")
    _optimizer = _load("optimizer")
    _peak = _load("peak")
    _reduce = _load("reduce")
    _scalars = _load("scalars")

# All at once: what another package loads in between could bring a second OpenMP runtime to those that come later.
_OPS = {name: _load(name) for name in OP_MODULES}


def refuse_two_runtimes(libraries: Sequence[str]) -> None:
    """Raise KernelError where the functions of OpenMP come from several files: then threads do not know each other."""
    if len(libraries) > 1:
        raise KernelError(
            "OpenMP", f"its functions come from {' and from '.join(libraries)}", "one library for all of them",
            "import cllm before the package that brings the other, or in a process without it",
        )


refuse_two_runtimes(cpu.openmp_libraries())

if hasattr(os, "register_at_fork"):
    # A forked child inherits libgomp's pool without its threads and would wait for them for ever.
    os.register_at_fork(before=cpu.pause)

enter_floats, leave_floats = cpu.enter_floats, cpu.leave_floats
at = cpu.address_of  # of any contiguous array; `address` looks at it first
exp64, log64, sin64, cos64, pow64 = _scalars.exp64, _scalars.log64, _scalars.sin64, _scalars.cos64, _scalars.pow64
tanh64, erf64 = _scalars.tanh64, _scalars.erf64


def use_native_bf16(native: bool) -> bool:
    """Multiply bfloat16 by the processor's own instruction, or not; returns whether it is now. No bit depends on it."""
    modules = [executor if name == "executor" else _OPS[name] for name in BF16_MODULES]
    built = [module.use_native(native and cpu.bf16()) for module in modules]
    return native and cpu.bf16() and all(built)


BF16_NATIVE = use_native_bf16(True)


def op_kernels() -> dict[str, int]:
    """Addresses of all op kernels, by symbol such as "linear_forward"."""
    return {
        symbol: executor.address_of(capsule)
        for module in _OPS.values()
        for symbol, capsule in module.KERNELS.items()
    }


def foreign_kernels() -> dict[str, int]:
    """Addresses of the kernels that call the functions of a compiled op, by direction."""
    return {direction: executor.address_of(capsule) for direction, capsule in foreign.KERNELS.items()}


def address(array: NDArray[Any], dtype: Any = np.float32, who: str = "kernels") -> int:
    """The address of a C-contiguous array of this dtype."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise KernelError(
            who, f"{array.dtype} array, {'' if array.flags.c_contiguous else 'not '}contiguous",
            f"a C-contiguous {np.dtype(dtype)} array", "convert it with numpy.ascontiguousarray",
        )
    return at(array)


def _writable(array: Float32, who: str) -> int:
    if not array.flags.writeable:
        raise KernelError(who, "a read-only array", "one to be written in place", "pass a copy")
    return address(array, who=who)


def _same_size(who: str, first: NDArray[Any], *others: NDArray[Any]) -> None:
    for other in others:
        if other.size != first.size:
            raise KernelError(who, f"{other.size} elements beside {first.size}", "arrays of one size", "check both")


# --- reducers ---------------------------------------------------------------------------------------------------


def add(left: Float32, right: Float32) -> None:
    """left (n,) ADD= right (n,)."""
    _same_size("add", left, right)
    _reduce.add(_writable(left, "add"), address(right), left.size)


def ordered_sum(out: Float32, gradients: Float32) -> None:
    """out (n,) = ((g0 + g1) + g2) + ... of gradients (S, n), whose rows may be slices of longer ones."""
    if gradients.dtype != np.float32 or gradients.ndim != 2 or gradients.strides[1] != 4:
        raise KernelError("ordered_sum", str(gradients.dtype), "float32 (S, n), rows contiguous", "check the slice")
    _same_size("ordered_sum", out, gradients[0])
    _reduce.ordered_sum(
        _writable(out, "ordered_sum"), int(gradients.ctypes.data), len(gradients), gradients.strides[0] // 4, out.size
    )


def scale(x: Float32, factor: float, n_threads: int = 1) -> None:
    """x (n,) *= factor, rounded to float32 first."""
    with region(n_threads) as busy:
        _reduce.scale(_writable(x, "scale"), x.size, factor, n_threads, busy)


def sum_reducer() -> object:
    """The compiled side of the tree reducer: a capsule of the kernel ABI, whose merge adds."""
    return _reduce.sum_reducer()


def sum_address() -> int:
    """Of its struct, for those who add in its stead."""
    return _reduce.SUM_ADDRESS


def finite_check() -> object:
    """The compiled side of the check `finite`: how many elements are NaN or infinite, the place of the first, or -1."""
    return _finite.finite_check()


# --- norms ------------------------------------------------------------------------------------------------------

_MATRIX = np.dtype([("offset", np.int64), ("rows", np.int64), ("columns", np.int64), ("sums", np.int64)])
assert _MATRIX.itemsize == _finite.MATRIX_SIZE


class Norms:
    """Norms of a flat gradient by numerics rule 3: one pass for all of them, or one that the engine makes anyway."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        ordered = sorted((p for p in parameters if p.trainable), key=lambda p: p.name)
        columns = [p.shape[-1] for p in ordered]
        starts = np.concatenate([[0], np.cumsum(columns)])
        self._matrices = np.array(
            [(p.offset, p.size // c, c, s) for p, c, s in zip(ordered, columns, starts, strict=False)], dtype=_MATRIX
        )
        self._sums = np.empty(int(starts[-1]), dtype=np.float32)
        self._slices = {p.name: slice(s, s + c) for p, c, s in zip(ordered, columns, starts, strict=False)}

    @property
    def room(self) -> tuple[int, int, int]:
        """What Executor.fold takes to fill the column sums itself: addresses of matrices and sums, a count between."""
        return at(self._matrices), len(self._matrices), at(self._sums)

    def compute(self, gradient: Float32, n_threads: int = 1) -> float:
        """The global norm of gradient (P,), see `whole`."""
        matrices, n_matrices, sums = self.room
        with region(n_threads) as busy:
            _finite.column_squares(address(gradient), matrices, n_matrices, sums, n_threads, busy)
        return self.whole()

    def whole(self) -> float:
        """The global norm: not finite if any element is not, or if squares overflow float32."""
        return _finite.chain_norm(address(self._sums), self._sums.size)

    def of(self, name: str) -> float:
        """The norm of one parameter's gradient."""
        sums = self._sums[self._slices[name]]
        return _finite.chain_norm(address(sums), sums.size)


def count_nonfinite(x: Float32) -> int:
    """How many elements of x are NaN or infinite."""
    return _finite.count_nonfinite(address(x), x.size)


def largest(x: Float32) -> float:
    """The largest magnitude in x, NaN where one is."""
    return float(np.abs(x).max(initial=0.0))


# --- optimizers -------------------------------------------------------------------------------------------------

_SEGMENT = np.dtype(
    [("offset", np.int64), ("size", np.int64), ("decay", np.float64), ("learning_rate_scale", np.float64)]
)
assert _SEGMENT.itemsize == _optimizer.SEGMENT_SIZE


def segments(parameters: Sequence[Parameter], weight_decay: float | Mapping[str, float]) -> NDArray[Any]:
    """Runs of trainable elements with one weight decay and learning-rate scale, for updates.

    weight_decay: of matrices, or of each parameter by its name.
    """
    runs: list[tuple[int, int, float, float]] = []
    for p in parameters:
        if not p.trainable:
            continue
        decay = weight_decay[p.name] if isinstance(weight_decay, Mapping) else weight_decay if p.decay else 0.0
        treatment = (decay, p.learning_rate_scale)
        if runs and runs[-1][2:] == treatment and runs[-1][0] + runs[-1][1] == p.offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + p.size, *treatment)
        else:
            runs.append((p.offset, p.size, *treatment))
    return np.array(runs, dtype=_SEGMENT)


def adamw(
    parameters: Float32, gradient: Float32, first: Float32, second: Float32, runs: NDArray[Any], *,
    learning_rate: float, betas: tuple[float, float], epsilon: float, corrections: tuple[float, float],
    gradient_scale: float, n_threads: int = 1,
) -> bool:
    """One AdamW update (Loshchilov and Hutter 2019, algorithm 2) of parameters, first and second (n,), in place.

    runs: from `segments`. corrections: 1 - beta^t of both betas. The gradient is multiplied by gradient_scale. Returns
    whether all parameters are finite now.
    """
    _same_size("adamw", gradient, first, second)
    with region(n_threads) as busy:
        return _optimizer.adamw(
            _writable(parameters, "adamw"), address(gradient), _writable(first, "adamw"), _writable(second, "adamw"),
            address(runs, _SEGMENT), len(runs), learning_rate, *betas, epsilon, *corrections, gradient_scale,
            n_threads, busy,
        )


def sgd(
    parameters: Float32, gradient: Float32, velocity: Float32 | None, runs: NDArray[Any], *,
    learning_rate: float, momentum: float, gradient_scale: float, n_threads: int = 1,
) -> bool:
    """One SGD update of parameters and velocity (n,), in place; without velocity there is no momentum.

    Returns whether all parameters are finite now.
    """
    with region(n_threads) as busy:
        return _optimizer.sgd(
            _writable(parameters, "sgd"), address(gradient), 0 if velocity is None else _writable(velocity, "sgd"),
            address(runs, _SEGMENT), len(runs), learning_rate, momentum, gradient_scale, n_threads, busy,
        )


def lion(
    parameters: Float32, gradient: Float32, momentum: Float32, runs: NDArray[Any], *, learning_rate: float,
    betas: tuple[float, float], gradient_scale: float, n_threads: int = 1,
) -> bool:
    """One Lion update (Chen et al. 2023, algorithm 2) of parameters and momentum (n,), in place.

    Returns whether all parameters are finite now.
    """
    _same_size("lion", gradient, momentum)
    with region(n_threads) as busy:
        return _optimizer.lion(
            _writable(parameters, "lion"), address(gradient), _writable(momentum, "lion"), address(runs, _SEGMENT),
            len(runs), learning_rate, *betas, gradient_scale, n_threads, busy,
        )


def average(mean: Float32, parameters: Float32, weight: float, n_threads: int = 1) -> None:
    """mean (n,) += weight * (parameters (n,) - mean), in place; the weight is rounded to float32 first."""
    _same_size("average", mean, parameters)
    with region(n_threads) as busy:
        _optimizer.average(_writable(mean, "average"), address(parameters), mean.size, weight, n_threads, busy)


def matmul(out: Float32, a: Float32, b: Float32, *, transpose_b: bool = False, n_threads: int = 1) -> None:
    """out (M, N) = a (M, K) times b (K, N), or (N, K) transposed: each element one chain over ascending k."""
    (m, n), k = out.shape, a.shape[1]
    if a.shape[0] != m or b.shape != ((n, k) if transpose_b else (k, n)):
        raise KernelError(
            "matmul", f"{a.shape} times {b.shape} for {out.shape}", "shapes that fit", "see its documentation"
        )
    panels = np.empty(k * -(-n // executor.TILE_COLUMNS) * executor.TILE_COLUMNS, dtype=np.float32)
    with region(n_threads) as busy:
        _matrix.product(
            _writable(out, "matmul"), address(a), address(b), at(panels), m, n, k, transpose_b, n_threads, busy
        )


# --- initial values, elementary functions, a deviation ----------------------------------------------------------


def normal(out: Float32, deviation: float, seed: int, name: str, n_threads: int = 1) -> None:
    """out (n,) = draws of N(0, deviation^2), a function of seed, name and element alone."""
    if not 0 <= seed < 1 << SEED_BITS:
        raise KernelError("normal", f"seed {seed}", f"0 <= seed < 2^{SEED_BITS}", "choose another")
    key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
    _initial.normal(_writable(out, "normal"), out.size, deviation, seed, key, n_threads)


def map_float32(name: str, x: Float32, y: Float32 | None = None) -> Float32:
    """exp, log, tanh, erf, sin, cos, rsqrt of x, or pow of x and y: a new array of x's shape."""
    out = np.empty_like(x)
    if y is None:
        _scalars.map_float32(name, address(out), address(x), x.size)
    else:
        _same_size(name, x, y)
        _scalars.map_float32(name, address(out), address(x), x.size, address(y))
    return out


def mean_and_deviation(values: array[float]) -> tuple[float, float]:
    """Mean and standard deviation, by n - 1, of two values or more, an array("d"), added up in their order."""
    if values.typecode != "d" or len(values) < 2:
        came = f"{len(values)} of type {values.typecode!r}"
        raise KernelError("mean_and_deviation", came, "two values or more of type 'd'", "convert them")
    return _scalars.mean_and_deviation(at(values), len(values))


# --- what the machine can do ------------------------------------------------------------------------------------

# Multiplications and additions that one thread makes in a round of multiply_add.
FLOPS_PER_ROUND = _peak.FLOPS_PER_ROUND


def multiply_add(n_rounds: int, n_threads: int = 1) -> None:
    """Fused multiply-adds from registers to registers on every thread: as fast as this processor can."""
    _peak.multiply_add(n_rounds, n_threads)


def add_arrays(out: Float32, b: Float32, c: Float32, n_threads: int = 1) -> None:
    """out (n,) = b (n,) + c (n,): as fast as memory can."""
    _same_size("add_arrays", out, b, c)
    _peak.add_arrays(_writable(out, "add_arrays"), address(b), address(c), out.size, n_threads)
