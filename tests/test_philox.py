"""Philox in plain integers: known answers, and what is built on it is even and repeats nothing."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from cllm import kernels
from cllm.errors import KernelError
from cllm.philox import (
    STREAM_SAMPLE,
    STREAM_SHUFFLE,
    key_of,
    permute,
    philox4x32,
    uniform_below,
    unit,
)

ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [  # counter, key, words: kat_vectors of the Random123 paper for philox4x32 with 10 rounds
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: tuple[int, int, int, int]
) -> None:
    assert philox4x32(counter, key) == words


def test_no_two_seeds_and_streams_have_one_key() -> None:
    """A seed of 2^32 or more would meet another stream's: its upper half was laid over the stream's number."""
    seeds, streams = (0, 1, 2**31, ONES), range(1, 7)
    assert len({key_of(seed, stream) for seed in seeds for stream in streams}) == len(seeds) * len(streams)
    for seed in (-1, 2**32, 6 << 32, 2**64):
        with pytest.raises(ValueError, match="seed"):
            key_of(seed, 1)


def test_initial_values_take_no_seed_that_could_meet_another() -> None:
    for seed in (-1, 2**32):
        with pytest.raises(KernelError, match="seed"):
            kernels.normal(np.empty(4, np.float32), 1.0, seed, "x")


@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000, 2**32 + 1, 2**63 + 1, 2**64])
def test_uniform_below_stays_below(n: int) -> None:
    draws = [uniform_below(n, 7, STREAM_SAMPLE, i) for i in range(200)]
    assert all(0 <= draw < n for draw in draws)
    assert len(set(draws)) == 1 if n == 1 else len(set(draws)) > 1


def test_uniform_below_draws_again_instead_of_favouring_small_values() -> None:
    # Two thirds of 2^64: plain remainders would give the first half of the range twice the odds of the rest.
    n = 2**65 // 3
    draws = [uniform_below(n, 11, STREAM_SAMPLE, i) for i in range(4000)]
    assert _chi_squared(Counter(draw * 8 // n for draw in draws), cells=8) < 5.0


def test_each_coordinate_counts() -> None:
    def draw(seed: int = 1, stream: int = 2, *counter: int) -> int:
        return uniform_below(2**64, seed, stream, *counter)

    draws = [
        draw(1, 2, 3, 4, 5),
        draw(2, 2, 3, 4, 5),
        draw(1 + 2**31, 2, 3, 4, 5),
        draw(1, 3, 3, 4, 5),
        draw(1, 2, 4, 4, 5),
        draw(1, 2, 3, 5, 5),
        draw(1, 2, 3, 4, 6),
    ]
    assert len(set(draws)) == len(draws)
    assert draw(1, 2, 3) == draw(1, 2, 3, 0, 0)


@pytest.mark.parametrize("counter", [(1, 2, 3, 4), (-1,), (2**32,)])
def test_a_counter_beyond_its_words_is_refused(counter: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="counter"):
        uniform_below(10, 1, 2, *counter)


@pytest.mark.parametrize("n", [0, -1, 2**64 + 1])
def test_an_impossible_range_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="uniform"):
        uniform_below(n, 1, 2)


def test_unit_is_even_over_its_interval_and_never_one() -> None:
    draws = [unit(5, STREAM_SAMPLE, i) for i in range(4000)]
    assert all(0.0 <= draw < 1.0 and (draw * 2.0**53).is_integer() for draw in draws)
    assert _chi_squared(Counter(int(draw * 16) for draw in draws), cells=16) < 5.0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 127, 128, 129, 255, 256, 257, 1000])
def test_permute_permutes(n: int) -> None:
    for epoch in range(3):
        assert sorted(permute(i, n, 7, STREAM_SHUFFLE, epoch) for i in range(n)) == list(range(n))


def test_seeds_streams_and_epochs_order_differently() -> None:
    def order(seed: int, stream: int, epoch: int) -> tuple[int, ...]:
        return tuple(permute(i, 50, seed, stream, epoch) for i in range(50))

    keys = [(1, 3, 0), (2, 3, 0), (1, 4, 0), (1, 3, 1), (1, 3, 2**32), (1 + 2**31, 3, 0)]
    assert len({order(*key) for key in keys}) == len(keys)


@pytest.mark.parametrize("n", [3, 4])
def test_all_orders_of_a_few_items_are_equally_likely(n: int) -> None:
    orders = Counter(tuple(permute(i, n, 9, STREAM_SHUFFLE, epoch) for i in range(n)) for epoch in range(960))
    assert set(orders) == set(itertools.permutations(range(n)))
    assert _chi_squared(orders, cells=math.factorial(n)) < 5.0


def test_every_place_is_equally_likely_for_every_item() -> None:
    n, epochs = 40, 400
    places = Counter((i, permute(i, n, 3, STREAM_SHUFFLE, epoch)) for epoch in range(epochs) for i in range(n))
    assert _chi_squared(places, cells=n * n) < 5.0


@pytest.mark.parametrize(("index", "n"), [(-1, 5), (5, 5), (0, 0)])
def test_an_index_outside_is_refused(index: int, n: int) -> None:
    with pytest.raises(ValueError, match="index"):
        permute(index, n, 1, STREAM_SHUFFLE, 0)


def _chi_squared(counts: Counter[Any], cells: int) -> float:
    """How many standard deviations the counts lie above what an even distribution gives."""
    expected = counts.total() / cells
    statistic = sum((count - expected) ** 2 for count in counts.values()) / expected
    statistic += (cells - len(counts)) * expected
    return (statistic - (cells - 1)) / math.sqrt(2 * (cells - 1))
