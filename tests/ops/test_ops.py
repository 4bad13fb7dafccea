"""What every op keeps to, by cllm.testing; and each element of its inputs made NaN or infinite."""

from __future__ import annotations

import numpy as np
import pytest

from cllm.ops import OPS
from cllm.program import LOSSES, TARGETS, TOKENS, WEIGHTS
from cllm.testing import Case, Kernels, check_op, draw, run_reference
from cllm.testing.ops import reached
from tests.ops.cases import CASES

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

# What lies between two bfloat16 is rounded to either by a difference in its last bits; rounding has no slope:
# tests/ops/test_bf16.py compares it with the op in float32.
BF16 = {"tolerance": 1e-4, "has_slope": False}
IN_TRAINING_ALONE = ("cross_entropy", "dropout", "fault")


def test_an_op_keeps_to_what_is_asked_of_every_op(case: Case) -> None:
    kind = case.program().ops[0].kind.name
    drops = kind.startswith("attention") and case.program().ops[0].attributes["dropout"] > 0.0
    check_op(
        case, **BF16 if kind.endswith("_bf16") else {}, decodes=not kind.startswith(IN_TRAINING_ALONE),
        masked=["x0"] if drops else [],
    )


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


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_nonfinite_element_reaches_a_result_of_every_direction_that_reads_it(case: Case, poison: float) -> None:
    """Unless the definition leaves it out: then it leaves no trace.

    An infinity may end in one direction alone: a key of -inf is rightly given no weight, and spoils the backward.
    """
    run, values, read = Kernels(case), draw(case), reads(case)
    assert reached(run(values)) == set()
    for name in sorted({*read["forward"], *read["backward"]}):
        flat = values[name].reshape(-1)
        left_out = {d: masked(case, values, name, d) for d in read if name in read[d]}
        for element in some_of(flat.size, most=700 if np.isnan(poison) else 150):
            expected = {direction for direction in left_out if not left_out[direction][element]}
            clean, flat[element] = flat[element], poison
            found = reached(run(values))
            flat[element] = clean
            if np.isnan(poison):
                assert found == expected, (name, element)
            else:
                assert found <= expected and bool(found) == bool(expected), (name, element)


def test_every_kind_of_op_is_in_the_table(case: Case) -> None:
    tested = {case.program().ops[0].kind.name for case in CASES}
    assert tested == set(OPS) - {"logits", "logits_bf16"}  # decoding alone: tests/test_generate.py
