"""What every reducer is held to: bits at any number of threads and order of shards, one shard, NaN, IN and OUT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.disorder import Executor
from cllm.engine import Engine
from cllm.errors import CllmError
from cllm.hooks.making import check_shape
from cllm.hooks.protocols import Reducer
from cllm.opened import OpenedReducer, as_python
from cllm.outcomes import ReducerFailed
from cllm.reduction import fold_present
from cllm.testing.small import small_batch, small_model

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

N = 40_001  # elements: two chunks of the kernel ABI and a rest
CUTS = (0, 1, 1009, 16384, 20000, N)
# Threads, how many of them share a shard, in which order shards come.
WAYS: tuple[tuple[int, int | None, Executor], ...] = (
    (1, None, "fused"), (2, None, "fused"), (3, 1, "fused"), (3, 3, "fused"), (8, 2, "fused"), (2, None, "permuted"),
    (3, 1, "adversarial"),
)


def check_reducer(reducer: Reducer, least_shards: int = 1, *, tolerance: float = 1e-6) -> None:
    """Hold a reducer to what cllm asks of every reducer. Raises AssertionError that says what it does not keep.

    - It has the methods of its kind; a compiled one, a struct of this version of the kernel ABI.
    - A step has the same bits at any number of threads and in any order of the shards.
    - So has a call over slices of the parameters; what is IN is not written to; what was in OUT does not matter.
    - One shard comes out as it went in, up to `tolerance`.
    - A NaN or an infinity in a shard's element comes through, and leaves the other elements alone.

    least_shards: for one that needs more than one; with fewer it must raise one of cllm's errors.
    """
    who = f"reducer {type(reducer).__name__}"
    try:
        check_shape("reducer", reducer, who)
    except CllmError as error:
        raise AssertionError(str(error)) from error
    n_shards = max(5, least_shards)
    _check_steps(who, reducer, n_shards)
    usable = as_python(reducer, who)
    gradients, weights = _rows(n_shards)
    _check_slices(who, usable, gradients, weights)
    _check_few(who, reducer, usable, least_shards, tolerance)
    for poison in (np.nan, np.inf, -np.inf):
        _check_poison(who, usable, gradients, weights, poison)


def _check_steps(who: str, reducer: Reducer, n_shards: int) -> None:
    expected: bytes | None = None
    for n_threads, each, executor in WAYS:
        found = _step(reducer, n_shards, n_threads, each, executor)
        expected = found if expected is None else expected
        how = f"{n_threads} threads, shards in {executor} order"
        assert found == expected, f"{who}: a step with {how} has other bits than on one thread"


def _step(reducer: Reducer, n_shards: int, n_threads: int, each: int | None, executor: Executor) -> bytes:
    """The gradient of a small batch whose sequences are one shard each."""
    program, parameters = small_model()
    engine = Engine(
        program, n_shards, n_threads, micro_batch_size=1, threads_per_shard=each, reducer=reducer, executor=executor
    )
    return engine.gradient(parameters, small_batch(program, n_shards), reducer).gradient.tobytes()


def _rows(n_shards: int) -> tuple[Float32, Float64]:
    """Gradients (S, N) of all magnitudes, and sums of token weights (S,)."""
    generator = np.random.default_rng(n_shards)
    scales = np.exp2(generator.integers(-20, 20, (1, N)))
    weights = np.arange(n_shards, dtype=np.float64) + np.float64(3.0)
    return (generator.standard_normal((n_shards, N)) * scales).astype(np.float32), weights


def reduced(reducer: Any, gradients: Float32, weights: Float64, cuts: Sequence[int] = ()) -> Float32:
    """The sum over the shards (n,) by a reducer with methods, called for each slice between two of `cuts`.

    gradients (S, n), weights (S,). Of a fold in Python, `finish` is called once for all, as cllm does.
    """
    places = cuts or (0, gradients.shape[1])
    out = np.full(gradients.shape[1], np.nan, dtype=np.float32)
    for lo, hi in pairwise(places):
        _reduce(reducer, gradients[:, lo:hi], weights, out[lo:hi], lo)
    if reducer.kind == "fold" and not isinstance(reducer, OpenedReducer):
        reducer.finish(out, len(gradients))
    return out


def _reduce(reducer: Any, gradients: Float32, weights: Float64, out: Float32, first: int) -> None:
    place = {"first": first} if isinstance(reducer, OpenedReducer) else {}
    if reducer.kind == "gather":
        reducer.combine(gradients, weights, out, **place)
        return

    def merge(left: Float32, right: Float32) -> Float32:
        reducer.merge(left, right, **place)
        return left

    out[...] = fold_present(range(len(gradients)), lambda shard: gradients[shard].copy(), merge)
    if place:
        reducer.finish(out, len(gradients), **place)


def _check_slices(who: str, reducer: Any, gradients: Float32, weights: Float64) -> None:
    kept = gradients.tobytes(), weights.tobytes()
    whole = reduced(reducer, gradients, weights)
    assert (gradients.tobytes(), weights.tobytes()) == kept, f"{who}: it writes to gradients or weights, which are IN"
    if reducer.kind == "fold":
        _check_right(who, reducer, gradients)
    again = reduced(reducer, gradients, weights)
    assert whole.tobytes() == again.tobytes(), f"{who}: the same call once more has other bits"
    cut = reduced(reducer, gradients, weights, CUTS)
    n_other = np.count_nonzero(whole.view(np.uint32) != cut.view(np.uint32))
    assert not n_other, f"{who}: in slices it has other bits, at {n_other} elements: it looks beyond an element"


def _check_right(who: str, reducer: Any, gradients: Float32) -> None:
    left, right = gradients[0].copy(), gradients[1].copy()
    reducer.merge(left, right)
    assert right.tobytes() == gradients[1].tobytes(), f"{who}: merge writes to right, which is IN"


def _check_few(who: str, reducer: Reducer, usable: Any, least: int, tolerance: float) -> None:
    if least > 1:
        try:
            _step(reducer, least - 1, 1, None, "fused")
        except ReducerFailed as failed:
            assert isinstance(failed.__cause__, CllmError), f"{who}: for too few shards it raises {failed.__cause__!r}"
            return
        raise AssertionError(f"{who}: {least - 1} shards are too few, and it does not say so")
    gradients, weights = _rows(1)
    out = reduced(usable, gradients, weights)
    wrong = ~(np.abs(out - gradients[0]) <= tolerance * np.abs(gradients[0]))
    assert not wrong.any(), f"{who}: one shard is changed, at {np.count_nonzero(wrong)} elements"


def _check_poison(who: str, reducer: Any, gradients: Float32, weights: Float64, poison: float) -> None:
    """Shard by shard, at places on both sides of every border that a piece may have."""
    spoilt = gradients[:, : CUTS[2] + 5].copy()
    for shard, element in _places(spoilt):
        clean, spoilt[shard, element] = spoilt[shard, element], poison
        with np.errstate(all="ignore"):
            out = reduced(reducer, spoilt, weights)
        spoilt[shard, element] = clean
        found = np.flatnonzero(~np.isfinite(out)).tolist()
        assert element in found, f"{who}: {poison} in element {element} of shard {shard} is lost"
        assert found == [element], f"{who}: {poison} in element {element} of shard {shard} spoils others: {found[:5]}"


def _places(gradients: Float32) -> Iterator[tuple[int, int]]:
    n_shards, n = gradients.shape
    for shard in range(n_shards):
        yield from ((shard, element) for element in (*range(shard, 40, n_shards), n - 1 - shard))
