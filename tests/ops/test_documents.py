"""A document in a row with others has the bits that it has alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cllm.testing import Case, draw, run_kernel
from tests.ops.cases import CASES

WITH_DOCUMENTS = [case for case in CASES if case.documents and "dropout" not in case.name]  # whose mask is a row's


@pytest.mark.parametrize("case", WITH_DOCUMENTS, ids=lambda case: case.name)
def test_a_document_has_the_bits_that_it_has_alone(case: Case) -> None:
    values, names = draw(case), [parameter.name for parameter in case.program().parameters]
    together = run_kernel(case, values)
    starts = np.flatnonzero(case.positions == 0)
    start: dict[str, np.ndarray] = {}
    for begin, end in zip(starts, [*starts[1:], case.rows], strict=True):
        alone = replace(case, n_sequences=1, time=int(end - begin), documents=())
        rows = {parameter.name: parameter.shape[0] for parameter in alone.program().parameters}
        given = {name: np.ascontiguousarray(array[: rows[name]]) for name, array in values.items() if name in names}
        given |= {name: of_document(case, array, begin, end) for name, array in values.items() if name not in names}
        computed = run_kernel(alone, given)
        for name, array in computed.items():
            if name[2:] in names:  # a sum over documents, the first ones first
                total = start.setdefault(name, np.zeros_like(together[name]))
                total[: len(array)] += array
            else:
                np.testing.assert_array_equal(array, together[name][begin:end], err_msg=name)
    for name, total in start.items():
        np.testing.assert_array_equal(total, together[name], err_msg=name)


def of_document(case: Case, array: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Its rows of an array (rows, width), or of one (B, T)."""
    rows = array.reshape(case.rows, -1)[begin:end]
    return np.ascontiguousarray(rows.T if array.shape == (case.n_sequences, case.time) else rows)
