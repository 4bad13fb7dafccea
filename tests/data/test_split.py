"""The split: both parts together are everything, the share is kept, and one document is cut as nanoGPT cuts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data.draws import BLOCK
from cllm.data.split import Ranges, cut, split


def parts_of(lengths: list[int], validation: float) -> tuple[Ranges, Ranges]:
    ends = np.cumsum(lengths)
    return split(np.stack([ends - lengths, ends], axis=1), validation)


LENGTHS = st.lists(st.integers(1, 9) | st.integers(1, 2_000_000), min_size=2, max_size=50)


@given(lengths=LENGTHS, validation=st.floats(0, 0.999))
@settings(deadline=None)
def test_each_token_goes_to_one_part_in_order(lengths: list[int], validation: float) -> None:
    train, held_out = (part.tolist() for part in parts_of(lengths, validation))
    assert train == sorted(train) and held_out == sorted(held_out)
    together = sorted([*train, *held_out])
    bounds = [0, *np.cumsum(lengths).tolist()]
    # All documents, whole ones but for at most one, which is cut in two.
    cuts = {first for first, _ in together} - set(bounds)
    assert together == [list(pair) for pair in zip(*[sorted({*bounds, *cuts})[i:] for i in (0, 1)], strict=False)]
    assert len(cuts) <= 1
    assert bool(train) and bool(held_out) == (validation > 0)


@given(lengths=LENGTHS, validation=st.floats(0.001, 0.999))
@settings(deadline=None)
def test_no_part_is_far_from_its_share_of_the_tokens(lengths: list[int], validation: float) -> None:
    train, held_out = (int(np.diff(part).sum()) for part in parts_of(lengths, validation))
    share = validation * sum(lengths)
    assert min(share, max(lengths)) / 2 - 1 <= held_out <= max(1, 2 * share)
    assert train >= (sum(lengths) - share) / 2 - 1


@given(n=st.integers(20, 200), validation=st.floats(0.05, 0.95))
@settings(deadline=None)
def test_of_documents_of_one_length_the_share_is_kept_exactly(n: int, validation: float) -> None:
    assert abs(len(parts_of([7] * n, validation)[1]) - validation * n) <= 0.5


@pytest.mark.parametrize("huge", [0, 1, 2])
def test_a_document_that_is_nearly_everything_is_cut(huge: int) -> None:
    """Whole, it would be all of a part, and what is left of the text too little for the other."""
    lengths = [5_000] * 3
    lengths[huge] = 1_100_000
    train, held_out = parts_of(lengths, 0.1)
    end = sum(lengths[: huge + 1])
    assert held_out.tolist() == [[end - 111_000, end]] and len(train) == 3


def test_a_document_larger_than_the_share_is_left_to_training_where_others_make_it_up() -> None:
    for place in range(20):
        lengths = [1000] * 20
        lengths[place] = 50_000
        _, held_out = parts_of(lengths, 0.1)
        assert 3450 <= np.diff(held_out).sum() <= 13_800 and [50_000] not in np.diff(held_out).tolist()


def test_share_is_kept_over_several_blocks() -> None:
    train, held_out = parts_of([1] * (2 * BLOCK + 10), 0.1)
    assert (len(train), len(held_out)) == (7382, 820)
    assert 350 < np.sum(held_out[:, 0] < BLOCK) < 470  # spread: about half of them in the first block of two


def test_split_stays() -> None:
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
