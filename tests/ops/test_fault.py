"""The op `fault` where it does what it is for; elsewhere it is a copy, as tests/ops/test_ops.py shows."""

from __future__ import annotations

import numpy as np
import pytest

from cllm.errors import ProgramError
from cllm.models.gpt2 import build
from cllm.ops.fault import insert
from cllm.testing import BATCH, Case, draw, run_kernel, run_reference
from tests.models import shape


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(("in_backward", "result"), [(False, "fault.y"), (True, "d/x0")])
def test_one_element_of_one_direction_is_a_nan(in_backward: bool, result: str, n_threads: int) -> None:
    case = Case("fault", (23,), lambda p, x: p.fault(x, "fault", BATCH, 1, 2 * 23 + 7, in_backward))
    values = draw(case)
    found, expected = run_kernel(case, values, n_threads), run_reference(case, values)
    for name in ("fault.y", "d/x0"):
        np.testing.assert_array_equal(found[name], expected[name].astype(np.float32))
        broken = np.argwhere(np.isnan(found[name])).tolist()
        assert broken == ([[1 * 5 + 2, 7]] if name == result else [])


def test_an_element_beyond_a_sequence_is_refused() -> None:
    case = Case("fault", (23,), lambda p, x: p.fault(x, "fault", 0, 0, 5 * 23))
    with pytest.raises(ProgramError, match="element 115; expected 0 to 114"):
        case.program()


def test_it_is_put_before_the_loss_where_it_moves_no_random_number() -> None:
    plain, program = (build(shape(dropout=0.1), "train") for _ in range(2))
    insert(program, 3, 8, in_backward=True)
    assert program.ops[:-2] == plain.ops[:-1]
    assert (program.ops[-2].kind.name, program.ops[-1].kind.name) == ("fault", "cross_entropy")
    assert program.ops[-1].inputs[0] == "fault.y" and program.ops[-2].inputs == plain.ops[-1].inputs[:1]
