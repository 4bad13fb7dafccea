"""How a batch is cut into shards (numerics rule 1), and how many gradients a run of them holds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.reduction import count_shards, fold_run, most_held, most_whole, shard_boundaries

BATCH_SIZES, BLOCK_SIZES = st.integers(1, 3000), st.integers(1, 10000)


def sizes(boundaries: list[int]) -> list[int]:
    return [last - first for first, last in pairwise(boundaries)]


@given(BATCH_SIZES, BLOCK_SIZES)
def test_a_shard_has_at_most_4096_tokens_or_one_sequence(batch_size: int, block_size: int) -> None:
    found = sizes(shard_boundaries(batch_size, block_size))
    assert sum(found) == batch_size
    assert min(found) >= 1 and max(found) - min(found) <= 1
    assert max(found) == 1 or max(found) * block_size <= 4096


@given(BATCH_SIZES, BLOCK_SIZES)
def test_shards_are_no_more_than_needed(batch_size: int, block_size: int) -> None:
    n = len(shard_boundaries(batch_size, block_size)) - 1
    usual = min(batch_size, 4 if batch_size * block_size < 4096 else 8)
    assert n == usual or (n > usual and -(-batch_size // (n - 1)) * block_size > 4096)


@given(BATCH_SIZES, st.integers(1, 3000))
def test_by_hand_a_shard_has_at_most_so_many_sequences(batch_size: int, micro_batch_size: int) -> None:
    found = sizes(shard_boundaries(batch_size, 64, micro_batch_size))
    assert sum(found) == batch_size and min(found) >= 1
    assert max(found) <= micro_batch_size and max(found) - min(found) <= 1


@pytest.mark.parametrize(
    ("batch_size", "block_size", "n_shards"),
    [(12, 64, 4), (3, 64, 3), (64, 64, 8), (64, 768, 13), (16, 4096, 16), (4, 8192, 4), (64, 1024, 16)],
)
def test_known_shapes(batch_size: int, block_size: int, n_shards: int) -> None:
    assert len(shard_boundaries(batch_size, block_size)) - 1 == n_shards


@given(BATCH_SIZES, BLOCK_SIZES, st.none() | st.integers(1, 3000))
def test_shards_are_counted_as_they_are_cut(batch_size: int, block_size: int, micro_batch_size: int | None) -> None:
    cut = sizes(shard_boundaries(batch_size, block_size, micro_batch_size))
    n = count_shards(batch_size, block_size, micro_batch_size)
    assert (len(cut), max(cut)) == (n, -(-batch_size // n))


def test_gradients_are_counted_as_a_run_holds_them() -> None:
    for first in range(70):
        for last in range(first, 70 + 65):
            assert most_held(first, last) == fold_run(first, last)[1], (first, last)


@given(st.integers(0, 10**5), st.integers(0, 3000))
def test_gradients_are_counted_in_long_runs(first: int, length: int) -> None:
    assert most_held(first, first + length) == fold_run(first, first + length)[1]


def test_more_shards_than_could_be_listed_are_counted() -> None:
    assert count_shards(10**26, 64) == 10**26 // 64
    assert most_held(0, 2**80) == 81


def test_a_right_sibling_of_one_shard_needs_no_gradient_of_its_own() -> None:
    for first in range(0, 20):
        for last in range(first, first + 40):
            stack: list[tuple[int, int]] = []
            most = 0
            for shard in range(first, last):
                beside = bool(stack) and stack[-1] == (shard - 1, 1) and shard % 2 == 1
                stack.append((shard, 1))
                most = max(most, len(stack) - beside)
                while len(stack) > 1 and stack[-2][1] == stack[-1][1] and stack[-2][0] % (2 * stack[-1][1]) == 0:
                    _, size = stack.pop()
                    stack[-1] = stack[-1][0], 2 * size
            assert most_whole(first, last) == most, (first, last)
