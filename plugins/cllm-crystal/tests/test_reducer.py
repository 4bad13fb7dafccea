"""The sum of twelve around one: against float64 and a tree that is written out, whatever the slices."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from cllm import kernels
from cllm.abi import as_python
from cllm.builtin.reducers import TreeReducer
from cllm.reduction import fold_present

from cllm_crystal.reducers import Kissing

COUNTS = (1, 2, 3, 4, 8, 11, 12, 13, 14, 24, 25, 143, 144, 145, 1730)
everywhere = pytest.mark.parametrize("n_shards", COUNTS)


def shards(n_shards: int, n: int = 101) -> np.ndarray:
    return np.random.default_rng(n_shards).normal(size=(n_shards, n)).astype(np.float32)


def kissing(gradients: np.ndarray) -> np.ndarray:
    out = np.full(gradients.shape[1], np.nan, dtype=np.float32)  # OUT: whatever was there must not show
    Kissing().combine(gradients, np.ones(len(gradients)), out)
    return out


def ordered(gradients: np.ndarray) -> np.ndarray:
    out = np.empty(gradients.shape[1], dtype=np.float32)
    kernels.ordered_sum(out, gradients)
    return out


def tree(gradients: np.ndarray) -> np.ndarray:
    def merged(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        as_python(TreeReducer()).merge(left, right)
        return left

    return fold_present(range(len(gradients)), lambda shard: gradients[shard].copy(), merged)


def written_out(values: list[np.float32]) -> np.float32:
    """One element by Python's lists: a level of centres above the other."""
    while len(values) > 1:
        groups = [values[first : first + 12] for first in range(0, len(values), 12)]
        values = []
        for group in groups:
            total = group[0]
            for value in group[1:]:
                total = np.float32(total + value)
            values.append(total)
    return values[0]


def bits(array: np.ndarray) -> list[int]:
    return [int(one) for one in np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)]


@everywhere
def test_it_is_the_sum(n_shards: int) -> None:
    gradients = shards(n_shards)
    exact = gradients.astype(np.float64).sum(axis=0)
    # Each shard passes 11 additions a level at most.
    n_additions = 11 * len([12**level for level in range(4) if 12**level < n_shards])
    assert (np.abs(kissing(gradients) - exact) <= n_additions * 2**-24 * np.abs(gradients).sum(axis=0)).all()


@everywhere
def test_it_goes_along_the_tree_in_the_readme(n_shards: int) -> None:
    gradients = shards(n_shards, n=23)
    assert bits(kissing(gradients)) == bits(np.array([written_out(list(column)) for column in gradients.T]))


def test_one_shard_is_handed_on_to_the_bit() -> None:
    odd = np.array([[-0.0, 1e-42, 3.4e38, -np.inf]], dtype=np.float32)
    assert bits(kissing(odd)) == bits(odd[0])


@everywhere
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_comes_through(n_shards: int, value: float) -> None:
    gradients = shards(n_shards, n=67)
    for shard in {0, n_shards // 2, n_shards - 1}:
        spoilt = gradients.copy()
        spoilt[shard, 66] = value
        came = kissing(spoilt)
        assert bits(came[:66]) == bits(kissing(gradients)[:66])
        assert np.isnan(came[66]) if np.isnan(value) else came[66] == value


def test_it_has_other_bits_than_the_trees_from_4_shards_on_and_than_ordered_from_14_on() -> None:
    of = {n: shards(n, n=4001) for n in (1, 2, 3, 4, 12, 13, 14)}
    assert [n for n, rows in of.items() if bits(kissing(rows)) == bits(tree(rows))] == [1, 2, 3]
    assert [n for n, rows in of.items() if bits(kissing(rows)) == bits(ordered(rows))] == [1, 2, 3, 4, 12, 13]


@everywhere
def test_slices_change_no_bit_and_inputs_are_left_alone(n_shards: int) -> None:
    gradients = shards(n_shards)
    before, whole = gradients.copy(), kissing(gradients)
    for cuts in ([1], [16, 64, 65], [2, 3, 5, 7, 100]):
        out = np.empty_like(whole)
        for lo, hi in pairwise([0, *cuts, 101]):
            Kissing().combine(gradients[:, lo:hi], np.ones(n_shards), out[lo:hi])
        assert bits(out) == bits(whole)
    assert (gradients == before).all()
