"""Vectorised draws are philox's own; windows cover an epoch once and stay inside the file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm import philox
from cllm.data.draws import BLOCK, RandomStarts, ShuffledStarts, permuted, uniform, windows_per_epoch
from cllm.errors import DataError

SEEDS = st.integers(0, 2**32 - 1)


@given(n=st.integers(1, 10**7), seed=SEEDS, epoch=st.integers(0, 2**40), data=st.data())
@settings(deadline=None, max_examples=50)
def test_permuted_is_philox_permute(n: int, seed: int, epoch: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, (n - 1) // BLOCK)) * BLOCK
    values = permuted(first, n, seed, philox.STREAM_SHUFFLE, epoch)
    assert len(values) == min(BLOCK, n - first)
    for place in {0, len(values) // 2, len(values) - 1}:
        assert values[place] == philox.permute(first + place, n, seed, philox.STREAM_SHUFFLE, epoch)


@pytest.mark.parametrize("n", [1, 2, 5, 255, 257, BLOCK, 3 * BLOCK + 1])
def test_permuted_blocks_together_are_a_permutation(n: int) -> None:
    blocks = [permuted(first, n, 7, philox.STREAM_SHUFFLE, 3) for first in range(0, n, BLOCK)]
    assert sorted(np.concatenate(blocks).tolist()) == list(range(n))


@given(n=st.one_of(st.integers(1, 2**33), st.integers(2**63, 2**64 - 1)), seed=SEEDS, block=st.integers(0, 2**40))
@settings(deadline=None, max_examples=50)
def test_uniform_is_philox_uniform_below(n: int, seed: int, block: int) -> None:
    values = uniform(block * BLOCK, n, seed, philox.STREAM_WINDOW, part=2)
    for place in (0, 1, 1000, BLOCK - 1):
        number = block * BLOCK + place
        words = (number & 0xFFFFFFFF, number >> 32, 2)
        assert values[place] == philox.uniform_below(n, seed, philox.STREAM_WINDOW, *words)


@given(n_tokens=st.integers(2, 3000), block_size=st.integers(1, 300), seed=SEEDS, epoch=st.integers(0, 1000))
@settings(deadline=None)
def test_an_epoch_has_each_window_once_and_none_overlaps(n_tokens: int, block_size: int, seed: int, epoch: int) -> None:
    if n_tokens <= block_size:
        with pytest.raises(DataError, match=f"at least {block_size + 1}"):
            ShuffledStarts(n_tokens, block_size, seed)
        return
    starts = ShuffledStarts(n_tokens, block_size, seed)
    n = starts.n_per_epoch
    order = sorted(starts(epoch * n + place) for place in range(n))
    assert order == list(range(order[0], order[0] + n * block_size, block_size))
    assert order[0] >= 0 and order[-1] + block_size < n_tokens
    assert (n + 2) * block_size >= n_tokens  # what one epoch leaves out, another phase reads


def test_epochs_and_parts_and_seeds_have_orders_of_their_own() -> None:
    def order(epoch: int, part: int = 0, seed: int = 1) -> tuple[int, ...]:
        starts = ShuffledStarts(5000, 10, seed, part)
        return tuple(starts(epoch * starts.n_per_epoch + place) for place in range(starts.n_per_epoch))

    orders = {order(epoch, part, seed) for epoch in range(3) for part in range(3) for seed in (1, 2, 2**31 + 2)}
    assert len(orders) == 27
    assert {min(one) % 10 for one in orders} == set(range(10))


@given(n_tokens=st.integers(2, 2000), block_size=st.integers(1, 100), seed=SEEDS)
@settings(deadline=None)
def test_random_windows_lie_inside(n_tokens: int, block_size: int, seed: int) -> None:
    if n_tokens <= block_size:
        return
    starts = RandomStarts(n_tokens, block_size, seed)
    assert all(0 <= starts(sample) <= n_tokens - block_size - 1 for sample in range(50))


def test_every_token_is_a_target_at_some_phase() -> None:
    starts = ShuffledStarts(100, 16, seed=1)
    ends = {starts(epoch * starts.n_per_epoch + place) + 16 for epoch in range(200) for place in range(5)}
    assert min(ends) == 16 and max(ends) == 99


def test_random_windows_reach_every_start() -> None:
    starts = RandomStarts(20, 10, seed=3)
    assert {starts(sample) for sample in range(200)} == set(range(10))


def test_samples_far_on_need_no_samples_before() -> None:
    for kind in (ShuffledStarts, RandomStarts):
        far = kind(10**6, 64, seed=5)(10**12 + 7)
        again = kind(10**6, 64, seed=5)
        assert [again(10**12 + place) for place in range(8)][7] == far


def test_windows_per_epoch() -> None:
    assert [windows_per_epoch(n, 10) for n in (11, 19, 20, 29, 30, 31)] == [1, 1, 1, 1, 2, 2]
