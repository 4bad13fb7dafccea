"""A mixture keeps its shares exactly in every round, and goes through each part without repetition."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data.batches import Batches
from cllm.data.mixture import ROUND, Deal, Mixture, deal
from cllm.data.tokenfile import TokenFile
from cllm.data.tokenwrite import make_header, write_token_file, write_tokens
from cllm.errors import DataError


@given(weights=st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=20))
def test_places_are_the_shares_within_one(weights: list[float]) -> None:
    places = deal(weights, len(weights))
    assert sum(places) == ROUND and min(places) >= 1
    total = sum(weight / max(weights) for weight in weights)
    n_lifted = sum(place == 1 for place in places)
    for weight, place in zip(weights, places, strict=True):
        assert abs(place - weight / max(weights) / total * ROUND) <= 1 + n_lifted


@pytest.mark.parametrize(
    ("weights", "places"),
    [([1], (4096,)), ([1, 3], (1024, 3072)), ([1, 1, 1], (1366, 1365, 1365)), ([1e-9, 1], (1, 4095))],
)
def test_places_of_plain_weights(weights: list[float], places: tuple[int, ...]) -> None:
    assert deal(weights, len(weights)) == places


@pytest.mark.parametrize("weights", [[], [1], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")], [1, 2, 3]])
def test_other_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="weights"):
        deal(weights, 2)


@given(weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=5), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_a_round_deals_each_parts_samples_once(weights: list[float], seed: int) -> None:
    places = deal(weights, len(weights))
    dealt = Deal(places, seed)
    for number in (0, 1, 5):
        got = sorted(dealt(number * ROUND + turn) for turn in range(ROUND))
        assert got == [(part, number * n + place) for part, n in enumerate(places) for place in range(n)]


def test_rounds_are_shuffled_and_shares_hold_early() -> None:
    dealt = Deal(deal([1, 3], 2), 1337)
    turns = [[dealt(number * ROUND + turn)[0] for turn in range(ROUND)] for number in range(2)]
    assert turns[0] != turns[1]
    assert 0.6 < sum(turns[0][:200]) / 200 < 0.9


def test_each_part_goes_through_its_own_epochs(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 1000)):
        write_tokens(tmp_path / name, range(first, first + 500), 1500)
    mixture = Mixture.of([TokenFile.open(tmp_path / name) for name in "ab"], [1, 3])
    batches = Batches(mixture, 8, 10, seed=1)
    n = 49  # windows of each part
    assert batches.windows_per_epoch == 2 * n
    for low, n_samples in ((0, 1024), (1000, 3072)):
        seen = [row[0] for index in range(512) for row in batches(index).inputs.tolist() if low <= row[0] < low + 1000]
        assert len(seen) == n_samples
        # A part's samples of one round come in any order, but they are so many whole epochs and a rest.
        counts = Counter(start // 10 for start in seen)
        assert len(counts) <= n + 1
        assert all(n_samples // n - n_samples // n * 0.5 <= count for _, count in counts.most_common(n - 1))


def test_only_one_tokenizer_goes_into_a_mixture(tmp_path: Path) -> None:
    import numpy as np

    files = []
    for digest in ("aa", "bb"):
        path = tmp_path / digest
        write_token_file(path, make_header(1, 1, 5, "char", digest), [np.array([0])], [np.array([1])])
        files.append(TokenFile.open(path))
    with pytest.raises(DataError, match="same tokenizer"):
        Mixture.of(files, [1, 1])
    with pytest.raises(DataError, match="no parts"):
        Mixture.of([], [])
    assert Mixture.of(files[:1] * 2, [1, 1]).tokenizer_digest == "aa"
