"""What reducers are made of: addition, the sum in the order of shards, scaling; to the bit, and inside their bounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cllm import kernels
from cllm.errors import KernelError
from tests.float32 import Float32

SIZES = [1, 2, 15, 16, 17, 63, 1000]
GUARD = 16  # elements on both sides that must stay NaN
FACTOR = 1.0 / 3.0  # no float32: scale rounds it first


def add(out: Float32, rows: Float32) -> Float32:
    out[...] = rows[0]
    kernels.add(out, rows[1].copy())
    return rows[0] + rows[1]


def ordered_sum(out: Float32, rows: Float32) -> Float32:
    kernels.ordered_sum(out, rows)
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return total


def scale(out: Float32, rows: Float32, n_threads: int = 1) -> Float32:
    out[...] = rows[0]
    kernels.scale(out, FACTOR, n_threads)
    return rows[0] * np.float32(FACTOR)


Door = Callable[[Float32, Float32], Float32]  # (out, rows (S, n)) -> what out must be
DOORS: dict[str, Door] = {
    "add": add, "ordered_sum": ordered_sum, "scale": scale,
    "scale_3": lambda out, rows: scale(out, rows, 3),
}
every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


def rows_of(n: int) -> Float32:
    """(5, n), slices of longer rows, of all magnitudes."""
    generator = np.random.default_rng(n)
    longer = generator.standard_normal((5, n + 7)) * np.exp2(generator.integers(-130, 100, (5, n + 7)))
    return longer.astype(np.float32)[:, 3 : n + 3]


@every_door
@pytest.mark.parametrize("n", SIZES)
def test_the_bits_are_those_of_the_definition_and_nothing_else_is_written(door: Door, n: int) -> None:
    memory = np.full(n + 2 * GUARD, np.nan, dtype=np.float32)
    out = memory[GUARD : n + GUARD]
    assert door(out, rows_of(n)).tobytes() == out.tobytes()
    assert np.isnan(memory[:GUARD]).all() and np.isnan(memory[n + GUARD :]).all()


@every_door
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_an_element_that_is_not_finite_comes_through_alone(door: Door, poison: float) -> None:
    n = 67
    for element in range(n):
        rows, out = rows_of(n), np.empty(n, dtype=np.float32)
        rows[0, element] = poison
        door(out, rows)
        np.testing.assert_array_equal(np.flatnonzero(~np.isfinite(out)), [element])


def zeros(*shape: int) -> Float32:
    return np.zeros(shape, dtype=np.float32)


def read_only() -> Float32:
    array = zeros(4)
    array.flags.writeable = False
    return array


REFUSED: dict[str, Callable[[], object]] = {
    "add, sizes": lambda: kernels.add(zeros(4), zeros(5)),
    "add, float64": lambda: kernels.add(zeros(4), np.zeros(4)),  # type: ignore[arg-type]
    "add, read only": lambda: kernels.add(read_only(), zeros(4)),
    "add, strides": lambda: kernels.add(zeros(8)[::2], zeros(4)),
    "ordered_sum, sizes": lambda: kernels.ordered_sum(zeros(4), zeros(3, 5)),
    "ordered_sum, one row": lambda: kernels.ordered_sum(zeros(4), zeros(4)),
    "ordered_sum, columns": lambda: kernels.ordered_sum(zeros(4), zeros(4, 3).T),
    "scale, read only": lambda: kernels.scale(read_only(), 2.0),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_an_array_that_does_not_fit_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(KernelError):
        call()
