"""Documents in a window: joined, separate or padded; compared with a slow and obvious walk over the file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data.batches import Batch, Batches, evaluation_batches
from cllm.data.documents import DocumentRows, positions_in
from cllm.data.mixture import Mixture
from cllm.data.tokenfile import TokenFile
from cllm.errors import DataError
from tests.data.test_answerdraws import with_answers
from tests.data.test_batches import BOTH, FILE, MIXTURE, in_memory

lengths_of_documents = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def a_file(lengths: Sequence[int]) -> TokenFile:
    """Token i is i, so a token says where it stood."""
    return in_memory(sum(lengths), [0, *np.cumsum(lengths)[:-1].tolist()])


def rows_one_by_one(lengths: Sequence[int], block_size: int) -> list[list[tuple[int, int]]]:
    """(input, target) of all rows of padded documents."""
    rows, start = [], 0
    for length in lengths:
        pairs = [(start + i, start + i + 1) for i in range(length - 1)]
        rows += [pairs[first : first + block_size] for first in range(0, len(pairs), block_size)]
        start += length
    return rows


def pairs_of(batch: Batch) -> list[list[tuple[int, int]]]:
    """(input, target) of what is counted in each row that has any."""
    rows = [
        [(int(i), int(t)) for i, t, w in zip(*row, strict=True) if w]
        for row in zip(batch.inputs, batch.targets, batch.weights, strict=True)
    ]
    return [row for row in rows if row]


@given(lengths=lengths_of_documents, block_size=st.integers(1, 15))
@settings(deadline=None)
def test_rows_are_documents_cut_into_blocks(lengths: list[int], block_size: int) -> None:
    rows, expected = DocumentRows.of(a_file(lengths), block_size), rows_one_by_one(lengths, block_size)
    assert rows.n == len(expected)
    assert rows.starts(np.arange(rows.n)).tolist() == [row[0][0] for row in expected]


@given(
    lengths=lengths_of_documents.filter(lambda lengths: max(lengths) > 1), block_size=st.integers(1, 15),
    batch_size=st.integers(1, 5), seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_an_epoch_of_padded_documents_has_every_row_once(
    lengths: list[int], block_size: int, batch_size: int, seed: int
) -> None:
    batches = Batches(a_file(lengths), batch_size, block_size, seed, documents="padded")
    expected, found = rows_one_by_one(lengths, block_size), []
    for index in range(3 * batches.batches_per_epoch):
        batch = batches(index)
        rows = pairs_of(batch)
        assert batch.inputs.shape == (batch_size, max(map(len, rows))) and batch.positions is None
        assert all(array.flags.c_contiguous for array in (batch.inputs, batch.targets, batch.weights))
        assert ((batch.documents >= 0) == (batch.weights > 0)).all()
        assert ((batch.targets < 0) == (batch.weights == 0)).all()
        found += rows
    n = batches.windows_per_epoch
    assert n == len(expected)
    for epoch in range(len(found) // n):
        assert sorted(found[epoch * n : (epoch + 1) * n]) == sorted(expected)


@given(lengths=lengths_of_documents, block_size=st.integers(1, 15), batch_size=st.integers(1, 5))
@settings(deadline=None)
def test_evaluation_of_documents_counts_all_but_their_first_tokens(
    lengths: list[int], block_size: int, batch_size: int
) -> None:
    file = a_file(lengths)
    targets = [t for row in rows_one_by_one(lengths, block_size) for _, t in row]
    for documents in ("separate", "padded"):
        batches = list(evaluation_batches(file, block_size, batch_size, documents=documents))
        assert [t for batch in batches for row in pairs_of(batch) for _, t in row] == targets
    assert [row for batch in batches for row in pairs_of(batch)] == rows_one_by_one(lengths, block_size)


@pytest.mark.parametrize("sampling", BOTH)
def test_separate_documents_are_the_joined_windows_with_positions(sampling: str) -> None:
    for source in (FILE, MIXTURE):
        joined = Batches(source, 6, 50, 3, sampling)
        separate = Batches(source, 6, 50, 3, sampling, "separate")
        for index in range(20):
            one, other = joined(index), separate(index)
            assert (one.inputs == other.inputs).all() and (one.documents == other.documents).all()
            assert one.positions is None and other.positions is not None
            begins = other.documents[:, 1:] != other.documents[:, :-1]
            assert (other.weights[:, :-1] == ~begins).all()
            assert (other.targets[:, :-1] == np.where(begins, -1, one.targets[:, :-1])).all()
            assert (other.positions[:, 0] == 0).all()
            assert (other.positions[:, 1:] == np.where(begins, 0, other.positions[:, :-1] + 1)).all()
            assert other.positions.dtype == np.int32


def test_positions_of_rows_with_padding() -> None:
    documents = np.array([[4, 4, 5, 5, 5, -1], [-1, -1, -1, -1, -1, -1]], np.int32)
    assert positions_in(documents).tolist() == [[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5]]


def test_rows_of_a_mixture_go_through_epochs_of_their_own() -> None:
    short, long = a_file([3] * 8), in_memory(500, [0, 30], first=10_000)
    batches = Batches(Mixture.of([short, long], [1, 1]), 8, 16, 5, documents="padded")
    rows = [row for index in range(512) for row in pairs_of(batches(index))]
    ours = [tuple(row) for row in rows if row[0][0] < 10_000]
    assert len(ours) == 2048 and {len(row) for row in ours} == {2}
    counts = {row: ours.count(row) for row in set(ours)}
    assert list(counts.values()) == [256] * 8  # after one whole round of the mixture
    everything = list(evaluation_batches(Mixture.of([short, long], [1, 1]), 16, 4, documents="padded"))
    assert sum(int(batch.weights.sum()) for batch in everything) == 8 * 2 + 29 + 469


def test_random_rows_are_drawn_alike_often() -> None:
    batches = Batches(a_file([5] * 10), 10, 16, 5, "random", "padded")
    firsts = [row[0][0] // 5 for index in range(200) for row in pairs_of(batches(index))]
    assert min(np.bincount(firsts)) > 140 and max(np.bincount(firsts)) < 260


def test_documents_of_one_token_have_nothing_to_learn() -> None:
    with pytest.raises(DataError, match="no document has two tokens"):
        Batches(a_file([1] * 100), 2, 4, 1, documents="padded")


def test_golden_batch_of_rows_stays() -> None:
    # numerics: another order of samples is another run
    assert Batches(FILE, 4, 16, 1337, documents="padded")(0).inputs[:, 0].tolist() == [1589, 1925, 453, 1781]


@st.composite
def files_with_answers(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]]]:
    """Lengths of documents, and answers in tokens, in order and apart."""
    lengths = draw(lengths_of_documents)
    cuts = sorted(draw(st.sets(st.integers(0, sum(lengths)), min_size=2, max_size=16)))
    return lengths, list(zip(cuts[::2], cuts[1::2], strict=False))


@given(given=files_with_answers(), block_size=st.integers(1, 15), batch_size=st.integers(1, 5))
@settings(deadline=None)
def test_of_padded_documents_with_answers_rows_that_have_one_are_read(
    given: tuple[list[int], list[tuple[int, int]]], block_size: int, batch_size: int
) -> None:
    lengths, answers = given
    counted = {token for first, end in answers for token in range(first, end)}
    expected = [
        [pair for pair in row if pair[1] in counted]
        for row in rows_one_by_one(lengths, block_size) if counted & {target for _, target in row}
    ]
    file = with_answers(sum(lengths), answers, [0, *np.cumsum(lengths)[:-1].tolist()])
    if not expected:
        with pytest.raises(DataError, match="answer"):
            Batches(file, batch_size, block_size, 1, documents="padded", loss="answers")
        return
    batches = Batches(file, batch_size, block_size, 1, documents="padded", loss="answers")
    assert batches.windows_per_epoch == len(expected)
    rows = [row for index in range(batches.batches_per_epoch) for row in pairs_of(batches(index))]
    assert sorted(rows[: len(expected)]) == sorted(expected)
    in_order = evaluation_batches(file, block_size, batch_size, documents="padded", loss="answers")
    assert [row for batch in in_order for row in pairs_of(batch)] == expected


@given(given=files_with_answers(), block_size=st.integers(1, 15))
@settings(deadline=None)
def test_of_separate_documents_answers_but_for_first_tokens_count(
    given: tuple[list[int], list[tuple[int, int]]], block_size: int
) -> None:
    lengths, answers = given
    starts = [0, *np.cumsum(lengths)[:-1].tolist()]
    expected = [token for first, end in answers for token in range(first, end) if token not in starts]
    file = with_answers(sum(lengths), answers, starts)
    if not any(token for first, end in answers for token in range(first, end)):
        return
    batches = evaluation_batches(file, block_size, 3, documents="separate", loss="answers")
    assert [target for batch in batches for row in pairs_of(batch) for _, target in row] == expected
