"""What every op is held to: its reference against slopes, its kernel against the reference, bits, OUT and ADD, NaN."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from cllm.errors import CllmError
from cllm.opened import OpenedOp
from cllm.program import LOSSES
from cllm.testing.opcase import Array, Case, Values, draw, run_reference
from cllm.testing.opkernel import Kernels

TOLERANCE = 2e-6  # norm of the difference over the norm of a result: float32 has 6e-8, and chains leave some times that
PARTS = (2, 3, 8)
POISONED = 40  # elements of an array that a NaN is put into, one at a time


def check_op(
    case: Case, tolerance: float = TOLERANCE, *, has_slope: bool = True, decodes: bool = True,
    masked: Collection[str] = (),
) -> None:
    """Hold an op of these sizes to what cllm asks of every op. Raises AssertionError that says what it does not keep.

    - The float64 backward is the slope of the float64 forward (has_slope: not asked of one that rounds).
    - The kernel gives the reference's numbers, up to `tolerance` of each array's norm, whatever was in its memory.
    - It gives the same bits in 1, 2, 3 and 8 parts, and writes to nothing that is IN.
    - Gradients that others have begun are added to.
    - A NaN in any element reaches a result wherever the reference lets it (masked: not asked of these arrays, of which
      the definition leaves elements out that the reference multiplies by 0).
    - One sequence that is continued gives the bits of the whole (decodes: not asked of what occurs in training alone).
    """
    _check_versions(case)
    if has_slope:
        check_slopes(case)
    run, values = Kernels(case), draw(case)
    start = gradients_to_add_to(case)
    _check_numbers(case, values, run(values), {}, tolerance)
    _check_numbers(case, values, run(values, 1, start), start, tolerance)
    for begun in ({}, start):
        _check_parts(case, run, values, begun)
    _check_nans(case, run, values, masked)
    if decodes:
        _check_continued(replace(case, n_sequences=1, documents=()))


def _check_versions(case: Case) -> None:
    for op in case.program().ops:
        if op.kind.compiled is None:
            continue
        try:
            OpenedOp(op.kind.compiled, f"op {op.kind.name}")
        except CllmError as error:
            raise AssertionError(f"{case.name}: {error}") from error


def objective(case: Case, values: Values) -> float:
    """A scalar whose gradient is what the backward returns for the incoming gradient in `values`."""
    results = run_reference(case, values)
    return sum(
        float((out * (1.0 if name == LOSSES else values["d/" + name])).sum())
        for name, out in results.items()
        if name == LOSSES or "d/" + name in values
    )


def check_slopes(case: Case) -> None:
    """Raises AssertionError where the reference's backward is not the slope of its forward, by central differences."""
    values = {n: v.astype(np.float64) if v.dtype == np.float32 else v for n, v in draw(case).items()}
    gradients = run_reference(case, values)
    generator, step = np.random.default_rng(1), 1e-5
    for name in differentiable(case):
        original = values[name[2:]]
        for _ in range(3):
            direction = generator.standard_normal(original.shape)
            values[name[2:]] = original + step * direction
            above = objective(case, values)
            values[name[2:]] = original - step * direction
            below = objective(case, values)
            values[name[2:]] = original
            slope = float((gradients[name].reshape(original.shape) * direction).sum())
            found = (above - below) / (2 * step)
            message = f"{case.name}: {name} of the reference gives a slope of {slope:.6g}, differences {found:.6g}"
            assert abs(found - slope) <= max(1e-5 * abs(slope), 1e-6), message


def differentiable(case: Case) -> list[str]:
    """Gradients that the op gives, as "d/" + name."""
    return [name for name in run_reference(case, draw(case)) if name.startswith("d/")]


def gradients_to_add_to(case: Case) -> Values:
    """What others have left in the gradients that the op gives, float32."""
    generator, values = np.random.default_rng(2), draw(case)
    return {
        name: generator.standard_normal(values[name[2:]].shape).astype(np.float32) for name in differentiable(case)
    }


def _check_numbers(case: Case, values: Values, computed: Values, start: Values, tolerance: float) -> None:
    for name, array in run_reference(case, values).items():
        expected = array + start[name].reshape(array.shape) if name in start else array
        error = np.linalg.norm(computed[name].reshape(array.shape) - expected)
        limit = tolerance * max(float(np.linalg.norm(expected)), 1e-3)
        added = " where it is added to what is there" if name in start else ""
        assert error <= limit, f"{case.name}: {name} of the kernel lies {error:.3g} from the reference's{added}"


def _check_parts(case: Case, run: Kernels, values: Values, start: Values) -> None:
    alone = run(values, 1, start)
    for n_parts in PARTS:
        together = run(values, n_parts, start)
        for name, array in alone.items():
            n_other = int(np.count_nonzero(array.view(np.uint32) != together[name].view(np.uint32)))
            assert not n_other, f"{case.name}: {name} has other bits in {n_parts} parts, at {n_other} elements"


def _check_nans(case: Case, run: Kernels, values: Values, masked: Collection[str]) -> None:
    """Direction by direction, for the definition may give an input of the forward no say in the backward."""
    for name in (name for name, array in values.items() if array.dtype == np.float32 and name not in masked):
        flat = values[name].reshape(-1)
        for element in some_of(flat.size, POISONED):
            clean, flat[element] = flat[element], np.nan
            with np.errstate(invalid="ignore"):
                expected, found = reached(run_reference(case, values)), reached(run(values))
            flat[element] = clean
            lost = expected - found
            assert not lost, f"{case.name}: a NaN in element {element} of {name} is lost in the {' and '.join(lost)}"


def some_of(n: int, most: int) -> list[int]:
    """All of n elements where they are few; else the first, the last, and others from between."""
    if n <= most:
        return list(range(n))
    quarter, stride = most // 4, n // (most // 2) | 1  # odd, so that it meets every lane
    return sorted({*range(quarter), *range(0, n, stride), *range(n - quarter, n)})


def reached(results: Values) -> set[str]:
    """The directions with a result that is not finite."""
    return {
        "backward" if name.startswith("d/") else "forward"
        for name, array in results.items()
        if not np.isfinite(array).all()
    }


def _check_continued(case: Case) -> None:
    """Row after row, as a text is written, against all at once."""
    run, values = Kernels(case, "decode"), draw(case)
    whole = run(values)
    for first in {1, case.time // 2, case.time - 1} - {0, case.time}:
        for n_parts in (1, 3):
            continued = run(values, n_parts, first=first)
            for name, array in continued.items():
                _check_rows(f"{case.name}: {name}, continued at row {first}", array, whole[name], first)


def _check_rows(what: str, continued: Array, whole: Array, first: int) -> None:
    assert np.isnan(continued[:first]).all(), f"{what}: rows before it are written to"
    assert continued[first:].tobytes() == whole[first:].tobytes(), f"{what}: other bits than all at once"
