"""The kernels keep to the chains and trees that the numerics rules prescribe: not a bit differs from them written out.

A digest shows that bits changed, not which were right. These tests say which.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cllm.engine import Engine
from cllm.ops import OPS
from cllm.program import TARGETS, TOKENS, WEIGHTS, Program
from cllm.testing import Case, draw, run_kernel
from cllm.testing.ops import gradients_to_add_to
from tests.float32 import Float32, fma
from tests.models import FoldInPython, Gather, Tree, a_batch, a_model
from tests.ops.cases import CASES
from tests.ops.chains import CHAINS, cross_entropy, embedding

WITHOUT_SUMS = {"add", "dropout", "fault", "gelu", "gelu_tanh", "rotary", "rotary_table", "swiglu"}
# Of documents that are told apart, tests/ops/test_documents.py says that each has the bits which it has alone.
SUMMING = [
    case for case in CASES
    if case.program().ops[0].kind.name in CHAINS and "dropout" not in case.name and not case.documents
]


def test_the_emulated_multiply_add_rounds_once() -> None:
    """Of all float32 none is nearer to the exact value, and a tie is even; some sums cancel, some lie at a tie."""
    generator = np.random.default_rng(3)
    a, b, c = (generator.standard_normal(3000).astype(np.float32) for _ in range(3))
    c[::3] = -(a * b)[::3]
    a[1::3] = b[1::3] = np.float32(1 + 2**-12)  # the product has 2^-24: half a unit of the last place of 1
    c[1::3] = np.float32(2.0) ** generator.integers(-80, 20, 1000)  # float64 alone would round 2^-80 away, to a tie
    c[4::9] = 0.0
    for x, y, z, result in zip(a, b, c, fma(a, b, c), strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        error = abs(Fraction(float(result)) - exact)
        for side in (-np.inf, np.inf):
            other = abs(Fraction(float(np.nextafter(result, np.float32(side)))) - exact)
            assert error < other or (error == other and result.view(np.int32) % 2 == 0)


def test_every_op_that_sums_has_its_chains_written_out() -> None:
    decoding = {"logits", "logits_bf16"}  # linear's; tests/test_generate.py compares their bits
    assert set(CHAINS) == set(OPS) - WITHOUT_SUMS - decoding


@pytest.mark.parametrize("adding", [False, True], ids=["set", "added"])
@pytest.mark.parametrize("case", SUMMING, ids=lambda case: case.name)
def test_every_element_is_its_chain(case: Case, adding: bool) -> None:
    op, values, start = case.program().ops[0], draw(case), gradients_to_add_to(case) if adding else {}
    computed, expected = run_kernel(case, values, start=start), CHAINS[op.kind.name](op, values, start)
    assert computed.keys() == expected.keys()
    for name, array in expected.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(computed[name].reshape(array.shape), array, err_msg=name)


def test_a_tied_table_takes_the_heads_chain_first_and_then_its_tokens() -> None:
    """Numerics rule 2, over one shard of two ops."""
    program = Program("train", 16, 37, OPS)
    x = program.embedding(TOKENS, "wte", 20)
    program.cross_entropy(x, "lm_head", "wte.weight")
    table = np.random.default_rng(4).standard_normal((37, 20)).astype(np.float32)
    batch = a_batch(program, 3)
    result = Engine(program, 3, 1, micro_batch_size=3).gradient(table.reshape(-1), batch, Tree())
    values = {"wte.weight": table, TOKENS: batch.inputs, TARGETS: batch.targets, WEIGHTS: batch.weights}
    head = cross_entropy(program.ops[1], {**values, "x0": table[batch.inputs.reshape(-1)]}, {})
    both = embedding(program.ops[0], {**values, "d/wte.y": head["d/x0"]}, {"d/wte.weight": head["d/wte.weight"]})
    expected = both["d/wte.weight"].reshape(-1) * np.float32(1.0 / result.weight_sum)
    np.testing.assert_array_equal(result.gradient, expected)


class Rows(Gather):
    """Keeps the gradients of the shards."""

    def combine(self, gradients: Float32, weights: np.ndarray, out: Float32) -> None:
        self.rows = gradients.copy()
        super().combine(gradients, weights, out)


def dyadic(rows: Float32) -> Float32:
    """Aligned subtrees of a power of two; what has no partner of its size joins the larger (numerics rule 4)."""
    if len(rows) == 1:
        return rows[0]
    half = 1 << (len(rows) - 1).bit_length() - 1
    return dyadic(rows[:half]) + dyadic(rows[half:])


def left_fold(rows: Float32) -> Float32:
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return total


@pytest.mark.parametrize("n_shards", [1, 2, 3, 5, 7, 8, 11, 13])
def test_shards_meet_in_the_dyadic_tree(n_shards: int) -> None:
    program, parameters = a_model("plain", n_layer=1)
    batch, rows = a_batch(program, n_shards), Rows()
    ordered = Engine(program, n_shards, 2, micro_batch_size=1).gradient(parameters, batch, rows)
    factor = np.float32(1.0 / ordered.weight_sum)
    np.testing.assert_array_equal(ordered.gradient, left_fold(rows.rows) * factor)
    for n_threads in (1, 2, 3, 4):
        for reducer in (Tree(), FoldInPython()):
            engine = Engine(program, n_shards, n_threads, micro_batch_size=1)
            gradient = engine.gradient(parameters, batch, reducer).gradient
            np.testing.assert_array_equal(gradient, dyadic(rows.rows) * factor)
