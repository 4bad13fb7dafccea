"""The split: both parts together are everything, the share is kept, and one document is cut as nanoGPT cuts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data.draws import BLOCK
from cllm.data.split import Ranges, cut, pick


def blocks_of(ranges: Ranges) -> Iterator[Ranges]:
    return (ranges[first : first + BLOCK] for first in range(0, len(ranges), BLOCK))


def parts_of(lengths: list[int], validation: float) -> list[Ranges]:
    ends = np.cumsum(lengths)
    ranges = np.stack([ends - lengths, ends], axis=1)
    return [np.concatenate(list(pick(blocks_of(ranges), len(ranges), validation, held))) for held in (False, True)]


@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=50), validation=st.floats(0, 0.999))
@settings(deadline=None)
def test_each_document_goes_to_one_part_in_order(lengths: list[int], validation: float) -> None:
    train, held_out = parts_of(lengths, validation)
    together = sorted([*train.tolist(), *held_out.tolist()])
    ends = np.cumsum(lengths).tolist()
    assert together == [[end - length, end] for end, length in zip(ends, lengths, strict=True)]
    assert train.tolist() == sorted(train.tolist()) and held_out.tolist() == sorted(held_out.tolist())
    if validation:
        assert len(train) >= 1 and len(held_out) >= 1
        assert abs(len(held_out) - validation * len(lengths)) <= 1
    else:
        assert len(held_out) == 0


def test_share_is_kept_over_several_blocks() -> None:
    train, held_out = parts_of([1] * (2 * BLOCK + 10), 0.1)
    assert (len(train), len(held_out)) == (7382, 820)
    assert 350 < np.sum(held_out[:, 0] < BLOCK) < 470  # spread: about half of them in the first block of two


def test_pick_stays() -> None:
    # Another choice would make validation losses of old runs incomparable.
    assert parts_of([1] * 20, 0.2)[1][:, 0].tolist() == [2, 7, 8, 15]


def test_tinyshakespeare_is_cut_where_nanogpt_cuts_it() -> None:
    assert cut(1_115_394, 0.1) == 1_003_854
    assert [part.tolist() for part in parts_of([1_115_394], 0.1)] == [
        [[0, 1_003_854]],
        [[1_003_854, 1_115_394]],
    ]


@pytest.mark.parametrize(
    ("n_tokens", "validation", "end"),
    [(1, 0.5, 1), (2, 0.001, 1), (2, 0.999, 1), (10, 0.0, 10), (10, 0.1, 9), (10, 0.99, 1), (10, 1e-12, 9)],
)
def test_no_part_of_a_cut_is_empty(n_tokens: int, validation: float, end: int) -> None:
    assert cut(n_tokens, validation) == end
    train, held_out = parts_of([n_tokens], validation)
    assert train.tolist() == [[0, end]]
    assert held_out.tolist() == ([] if end == n_tokens else [[end, n_tokens]])
