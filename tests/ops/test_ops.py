"""Properties that every op has: reference against central differences, kernel against reference, and the rest."""

from __future__ import annotations

import numpy as np
import pytest

from cllm.ops import OPS
from cllm.program import LOSSES, TARGETS, TOKENS, WEIGHTS
from tests.ops.cases import CASES
from tests.ops.harness import Case, Kernels, draw, run_kernel, run_reference

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

# Relative error of a tensor: norm of the difference over the norm. float32 has 6e-8; chains of some hundred terms
# and exp leave a few times that.
TOLERANCE = 2e-6
# What lies between two bfloat16 is rounded to either by a difference in its last bits.
TOLERANCE_BF16 = 1e-4


def is_bf16(case: Case) -> bool:
    return case.program().ops[0].kind.name.endswith("_bf16")


def tolerance(case: Case) -> float:
    return TOLERANCE_BF16 if is_bf16(case) else TOLERANCE


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
    if is_bf16(case):
        pytest.skip("rounding has no slope; tests/ops/test_bf16.py compares it with the op in float32")
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
        assert error <= tolerance(case) * max(np.linalg.norm(array), 1e-3), name


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
        assert error <= tolerance(case) * max(np.linalg.norm(expected), 1e-3), name


# What the backward kernels read besides the gradient that comes in; a bias, a table or a mask's input it never sees.
BACKWARD_READS = {
    "linear": ("x0", "w.weight"), "layernorm": ("x0", "ln.weight"), "gelu": ("x0",), "gelu_tanh": ("x0",),
    "attention": ("x0",), "cross_entropy": ("x0", "wte.weight", WEIGHTS), "linear_bf16": ("x0", "w.weight"),
    "attention_bf16": ("x0",), "cross_entropy_bf16": ("x0", "wte.weight", WEIGHTS),
    "linear_transposed": ("x0", "w.weight"), "linear_transposed_bf16": ("x0", "w.weight"),
    "rmsnorm": ("x0", "norm.weight"), "rotary": ("x1",), "swiglu": ("x0", "x1"),
    "grouped_attention": ("x0", "x1", "x2"), "grouped_attention_bf16": ("x0", "x1", "x2"),
}


def reads(case: Case) -> dict[str, tuple[str, ...]]:
    """The float32 arrays that each direction reads."""
    op = case.program().ops[0]
    incoming = tuple("d/" + name for name in op.outputs if name != LOSSES and op.kind.backward)
    forward = tuple(name for name in (*op.inputs, *op.parameters) if name and name not in (TOKENS, TARGETS))
    return {"forward": forward, "backward": (*incoming, *BACKWARD_READS.get(op.kind.name, ()))}


def masked(case: Case, values: dict[str, np.ndarray], name: str, direction: str) -> np.ndarray:
    """(size,) The elements that the definition leaves out in this direction."""
    kind, left_out = case.program().ops[0].kind.name, np.zeros(values[name].shape, dtype=bool)
    if kind == "dropout":  # what is dropped
        ones = {"x0": np.ones_like(values["x0"]), "d/drop.y": np.ones_like(values["x0"])}
        left_out = run_reference(case, {**values, **ones})["drop.y"] == 0.0
    elif kind.startswith("attention") and (name, direction) == ("x0", "forward"):  # queries without a weight
        channels, x = case.widths[0] // 3, values["x0"].copy()
        x[:, 2 * channels :] = 1.0
        left_out[:, :channels] = run_reference(case, {**values, "x0": x})["attn.y"] == 0.0
    elif kind.startswith("grouped_attention") and (name, direction) == ("x0", "forward"):
        left_out = run_reference(case, {**values, "x2": np.ones_like(values["x2"])})["attn.y"] == 0.0
    elif kind.startswith("cross_entropy") and name in ("x0", WEIGHTS):  # tokens that are not counted
        left_out.reshape(case.rows, -1)[values[TARGETS].reshape(-1) < 0] = True
    elif kind == "embedding" and name == "wte.weight":  # words that do not occur
        left_out[np.setdiff1d(np.arange(case.vocab_size), values[TOKENS])] = True
    return left_out.reshape(-1)


def some_of(n: int, most: int) -> list[int]:
    """All of n elements where they are few; else the first 32, the last 32, and as many from between."""
    if n <= most:
        return list(range(n))
    stride = n // (most - 64) | 1  # odd, so that it meets every lane
    return sorted({*range(32), *range(0, n, stride), *range(n - 32, n)})


def reached(case: Case, results: dict[str, np.ndarray]) -> set[str]:
    """The directions with a result that is not finite."""
    return {
        "backward" if name.startswith("d/") else "forward"
        for name, array in results.items()
        if not np.isfinite(array).all()
    }


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_nonfinite_element_reaches_a_result_of_every_direction_that_reads_it(case: Case, poison: float) -> None:
    """Unless the definition leaves it out: then it leaves no trace.

    An infinity may end in one direction alone: a key of -inf is rightly given no weight, and spoils the backward.
    """
    run, values, read = Kernels(case), draw(case), reads(case)
    assert reached(case, run(values)) == set()
    for name in sorted({*read["forward"], *read["backward"]}):
        flat = values[name].reshape(-1)
        left_out = {d: masked(case, values, name, d) for d in read if name in read[d]}
        for element in some_of(flat.size, most=700 if np.isnan(poison) else 150):
            expected = {direction for direction in left_out if not left_out[direction][element]}
            clean, flat[element] = flat[element], poison
            found = reached(case, run(values))
            flat[element] = clean
            if np.isnan(poison):
                assert found == expected, (name, element)
            else:
                assert found <= expected and bool(found) == bool(expected), (name, element)


def test_every_kind_of_op_is_in_the_table(case: Case) -> None:
    tested = {case.program().ops[0].kind.name for case in CASES}
    assert tested == set(OPS) - {"logits", "logits_bf16"}  # decoding alone: tests/test_generate.py
