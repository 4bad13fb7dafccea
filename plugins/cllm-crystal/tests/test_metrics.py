"""The metrics against pictures and loops; and that they are what they are said to be: of the text alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cllm.hooks import BatchView

from cllm_crystal.metrics import Gcd, Ulam, gcd_similarity, ulam, ulam_similarity

# As in any book; 1 is in the middle.
SPIRAL = """
37 36 35 34 33 32 31
38 17 16 15 14 13 30
39 18  5  4  3 12 29
40 19  6  1  2 11 28
41 20  7  8  9 10 27
42 21 22 23 24 25 26
43 44 45 46 47 48 49
"""


def batch(inputs: list[list[int]], targets: list[list[int]]) -> BatchView:
    weights = (np.array(targets) >= 0).astype(np.float32)
    return BatchView(1, 0, np.array(inputs, np.int32), np.array(targets, np.int32), weights)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_the_spiral_is_the_one_in_the_picture() -> None:
    rows = [[int(word) for word in line.split()] for line in SPIRAL.strip().splitlines()]
    expected = {value: (column - 3, 3 - row) for row, line in enumerate(rows) for column, value in enumerate(line)}
    x, y = ulam(numbers(*range(1, 50)))
    assert {n + 1: (int(x[n]), int(y[n])) for n in range(49)} == expected


def test_the_spiral_goes_on_by_single_steps_and_meets_no_place_twice() -> None:
    x, y = ulam(numbers(*range(1, 70_001)))
    assert (np.abs(np.diff(x)) + np.abs(np.diff(y)) == 1).all()
    assert len({*zip(x.tolist(), y.tolist(), strict=True)}) == 70_000


@pytest.mark.parametrize(
    ("a", "b", "expected"), [(1, 1, 1.0), (1, 7, 1 / 7), (6, 4, 1 / 3), (8, 4, 0.5), (9, 8, 1 / 9)]
)
def test_gcd_similarity(a: int, b: int, expected: float) -> None:
    for pair in ((a, b), (b, a)):
        assert gcd_similarity(*map(numbers, pair)).tolist() == [expected]


@pytest.mark.parametrize(
    ("a", "b", "d"), [(5, 5, 0.0), (1, 2, 1.0), (1, 3, math.sqrt(2)), (1, 25, math.sqrt(8)), (13, 17, 4.0)]
)
def test_ulam_similarity(a: int, b: int, d: float) -> None:
    for pair in ((a, b), (b, a)):
        assert ulam_similarity(*map(numbers, pair)).tolist() == [pytest.approx(1 / (1 + d), rel=1e-15)]


def test_ids_count_from_one_and_what_is_not_counted_is_left_out() -> None:
    one = batch([[0, 5, 0], [3, 9, 0]], [[6, -1, -1], [3, -1, -1]])  # the numbers 1, 7 and 4, 4
    assert Gcd().measure(one) == (1 / 7 + 1) / 2
    assert Ulam().measure(one) == pytest.approx((1 / (1 + math.sqrt(2)) + 1) / 2)


def test_without_a_counted_token_there_is_no_mean() -> None:
    for metric in (Gcd(), Ulam()):
        assert math.isnan(metric.measure(batch([[0, 0]], [[-1, -1]])))
