"""Properties that every op has: reference against central differences, kernel against reference, and the rest."""

from __future__ import annotations

import numpy as np
import pytest

from cllm.ops import OPS
from cllm.program import LOSSES
from tests.ops.cases import CASES
from tests.ops.harness import Case, draw, run_kernel, run_reference

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

# Relative error of a tensor: norm of the difference over the norm. float32 has 6e-8; chains of some hundred terms
# and exp leave a few times that.
TOLERANCE = 2e-6


def objective(case: Case, values: dict[str, np.ndarray]) -> float:
    """A scalar whose gradient is what the backward returns for the incoming gradient in `values`."""
    results = run_reference(case, values)
    return sum(
        float((out * (1.0 if name == LOSSES else values["d/" + name])).sum())
        for name, out in results.items()
        if name == LOSSES or "d/" + name in values
    )


def differentiable(case: Case) -> list[str]:
    return [name for name in run_reference(case, draw(case)) if name.startswith("d/")]


def test_reference_agrees_with_central_differences(case: Case) -> None:
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
            assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_kernel_agrees_with_reference(case: Case) -> None:
    values = draw(case)
    expected, computed = run_reference(case, values), run_kernel(case, values)
    assert expected.keys() == computed.keys()
    for name, array in expected.items():
        error = np.linalg.norm(computed[name].reshape(array.shape) - array)
        assert error <= TOLERANCE * max(np.linalg.norm(array), 1e-3), name


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("adding", [False, True], ids=["set", "added"])
def test_threads_give_the_same_bits(case: Case, adding: bool, n_threads: int) -> None:
    """Each with its own part and its own scratch, all at the same time; gradients set, or added to what is there."""
    values = draw(case)
    start = gradients_to_add_to(case) if adding else None
    alone, together = run_kernel(case, values, 1, start), run_kernel(case, values, n_threads, start)
    for name, array in alone.items():
        assert array.tobytes() == together[name].tobytes(), name


def gradients_to_add_to(case: Case) -> dict[str, np.ndarray]:
    generator, values = np.random.default_rng(2), draw(case)
    return {
        name: generator.standard_normal(values[name[2:]].shape).astype(np.float32) for name in differentiable(case)
    }


def test_added_gradients_start_where_they_are(case: Case) -> None:
    values = draw(case)
    alone, start = run_reference(case, values), gradients_to_add_to(case)
    added = run_kernel(case, values, start=start)
    for name, initial in start.items():
        expected = alone[name] + initial
        error = np.linalg.norm(added[name].reshape(expected.shape) - expected)
        assert error <= TOLERANCE * max(np.linalg.norm(expected), 1e-3), name


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_nonfinite_input_reaches_a_result(case: Case, poison: float) -> None:
    """In every lane position, forward or backward; a masked element (dropped, or not counted) may vanish."""
    clean = draw(case)
    reference = run_reference(case, clean)
    for name in [n for n in clean if clean[n].dtype == np.float32 and n != "weights"]:
        flat_size = clean[name].size
        for element in sorted({0, flat_size // 2, flat_size - 1, *range(min(flat_size, 17))}):
            values = {n: v.copy() for n, v in clean.items()}
            values[name].reshape(-1)[element] = poison
            with np.errstate(all="ignore"):
                if not any(np.isnan(a).any() or np.isinf(a).any() for a in run_reference(case, values).values()):
                    continue  # masked: the definition does not see it either
            results = run_kernel(case, values)
            assert any(not np.isfinite(array).all() for array in results.values()), (name, element)
    assert all(np.isfinite(array).all() for array in reference.values())


def test_every_kind_of_op_is_in_the_table(case: Case) -> None:
    tested = {case.program().ops[0].kind.name for case in CASES}
    assert tested == set(OPS) - {"logits"}  # decoding alone: tests/test_generate.py
