"""matmul: each element one chain over ascending k, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from cllm import kernels
from cllm.errors import KernelError
from tests.float32 import chain

SHAPES = [(1, 1, 1), (1, 40, 3), (7, 5, 13), (33, 65, 17), (64, 32, 128), (130, 70, 1), (9, 40, 6500)]


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_its_chains(shape: tuple[int, int, int], transpose_b: bool) -> None:
    m, n, k = shape
    generator = np.random.default_rng(3)
    a, b = (generator.standard_normal(size).astype(np.float32) for size in ((m, k), (n, k) if transpose_b else (k, n)))
    expected = chain(a, b.T if transpose_b else b)
    for n_threads in (1, 2, 3, 8):
        out = np.full((m, n), np.nan, dtype=np.float32)
        kernels.matmul(out, a, b, transpose_b=transpose_b, n_threads=n_threads)
        np.testing.assert_array_equal(out, expected)


def test_shapes_that_do_not_fit_are_refused() -> None:
    a = np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(KernelError, match=r"matmul: \(2, 3\) times \(2, 3\) for \(2, 2\)"):
        kernels.matmul(np.zeros((2, 2), dtype=np.float32), a, a)
