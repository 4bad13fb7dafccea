"""Numbers of float64 alone: the mean and deviation of what a check has seen."""

from __future__ import annotations

import math
from array import array

import numpy as np
import pytest

from cllm import kernels
from cllm.errors import KernelError


@pytest.mark.parametrize("n", [2, 3, 17, 128])
def test_mean_and_deviation_are_their_chains(n: int) -> None:
    values, total, squares = array("d", np.random.default_rng(n).normal(3.0, 1e-3, n).tolist()), 0.0, 0.0
    for value in values:
        total += value
    mean = total / n
    for value in values:
        squares += (value - mean) * (value - mean)
    assert kernels.mean_and_deviation(values) == (mean, math.sqrt(squares / (n - 1)))


@pytest.mark.parametrize("values", [array("d"), array("d", [1.0]), array("f", [1.0, 2.0])])
def test_a_deviation_is_refused_of_fewer_than_two_or_of_other_numbers(values: array[float]) -> None:
    with pytest.raises(KernelError, match="two values or more"):
        kernels.mean_and_deviation(values)
