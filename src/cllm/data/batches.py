"""Batches of training and evaluation windows; batch n is a pure function of (seed, n).

B sequences a batch, T = block_size tokens a sequence. All of it is integers, but for the weights, which
are 0 or 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cllm.data.answerdraws import RandomAnswers, ShuffledAnswers, refuse_without_answers, starts_in_order
from cllm.data.documents import DocumentRows, Documents, DocumentStarts, positions_in
from cllm.data.draws import RandomStarts, ShuffledStarts, windows_per_epoch
from cllm.data.mixture import Deal, Mixture
from cllm.data.tokenfile import TokenFile, check_range
from cllm.errors import DataError

Source = TokenFile | Mixture
Sampling = Literal["shuffle", "random"]
Loss = Literal["all", "answers"]


@dataclass(frozen=True, eq=False)
class Batch:
    """B windows of T tokens; of documents that are padded, T is the longest row.

    Padding has input 0, target -1, weight 0 and document -1.
    """

    index: int
    inputs: NDArray[np.int32] = field(repr=False)  # (B, T)
    targets: NDArray[np.int32] = field(repr=False)  # (B, T), the tokens that follow; -1: not counted
    weights: NDArray[np.float32] = field(repr=False)  # (B, T), 1 or 0
    documents: NDArray[np.int32] = field(repr=False)  # (B, T), of the inputs; counted over all parts of a mixture
    positions: NDArray[np.int32] | None = field(default=None, repr=False)  # (B, T) in documents that are kept apart

    @classmethod
    def padding(cls, index: int, batch_size: int, block_size: int) -> Batch:
        """A batch of nothing, to be filled."""
        shape = (batch_size, block_size)
        nothing = np.full(shape, -1, np.int32)
        return cls(index, np.zeros(shape, np.int32), nothing, np.zeros(shape, np.float32), nothing.copy())


class Batches:
    """`batches(n)` is batch n of an endless stream of samples: the samples n * B to n * B + B - 1.

    sampling "shuffle": windows that do not overlap, each once an epoch, in another order each epoch; a
    batch may hold the end of one epoch and the beginning of the next. "random": windows that begin
    anywhere, as nanoGPT's do. loss "answers": targets that are part of no answer are not counted, and windows without
    any other are left out; "all": every target counts. Of a mixture, each part goes through epochs of its own.
    What a window is at the end of a document, documents.py says.
    """

    def __init__(
        self, source: Source, batch_size: int, block_size: int, seed: int, sampling: Sampling = "shuffle",
        documents: Documents = "joined", loss: Loss = "all",
    ) -> None:
        """Raises DataError where a file of the source has not block_size + 1 tokens, or nothing to count."""
        self.source = source
        self.batch_size = batch_size
        self.block_size = block_size
        self.documents: Documents = documents
        self.loss: Loss = loss
        self._starts = [
            _starts(file, block_size, seed, part, sampling, documents, loss) for part, file in enumerate(source.parts)
        ]
        self._deal = Deal(source.places, seed) if isinstance(source, Mixture) else None

    @property
    def windows_per_epoch(self) -> int:
        """Windows that do not overlap, of the first epoch; of a mixture, of all parts together."""
        return sum(starts.n_per_epoch for starts in self._starts)

    @property
    def batches_per_epoch(self) -> int:
        """Batches that hold the windows of one epoch; the last of them may begin the next."""
        return -(-self.windows_per_epoch // self.batch_size)

    def __call__(self, batch_index: int) -> Batch:
        """Batch `batch_index` >= 0, the same whenever it is asked for."""
        samples = range(batch_index * self.batch_size, (batch_index + 1) * self.batch_size)
        return _filled(
            batch_index, self.batch_size, self.block_size, self.source, map(self.window, samples), self.documents,
            self.loss,
        )

    def window(self, sample: int) -> tuple[int, int]:
        """Where a sample of the stream begins: which part of the source, and its first token there."""
        part, number = self._deal(sample) if self._deal else (0, sample)
        return part, self._starts[part](number)


def _starts(
    file: TokenFile, block_size: int, seed: int, part: int, sampling: Sampling, documents: Documents, loss: Loss
) -> ShuffledStarts | RandomStarts | ShuffledAnswers | RandomAnswers | DocumentStarts:
    if documents == "padded":
        return DocumentStarts(file, block_size, seed, part, sampling, loss)
    _refuse_short(file, block_size)
    if loss == "answers":
        return (ShuffledAnswers if sampling == "shuffle" else RandomAnswers)(file, block_size, seed, part)
    return (ShuffledStarts if sampling == "shuffle" else RandomStarts)(file.n_tokens, block_size, seed, part)


def _refuse_short(file: TokenFile, block_size: int) -> None:
    """DataError, with the file's name, where it has not one window."""
    try:
        windows_per_epoch(file.n_tokens, block_size)
    except DataError as error:
        raise DataError(error.who, f"{file.path}: {error.came}", error.expected, error.todo) from None


def evaluation_batches(
    source: Source, block_size: int, batch_size: int, limit: int | None = None, documents: Documents = "joined",
    loss: Loss = "all",
) -> Iterator[Batch]:
    """Yield windows in order, so that every token but a file's first, or every one of an answer, is a target once.

    Of documents that are not joined, every token but each document's first. Windows without a counted target are left
    out. What is missing in a file's last window and in the last batch's rows is padding. `limit` batches, where there
    are more, are taken at equal distances over the whole source; None or 0: all of them. Raises DataError where a file
    has no answers to count.
    """
    if loss == "answers":
        refuse_without_answers(source.parts)
    starts = [_starts_in_order(file, block_size, documents, loss) for file in source.parts]
    ends = list(accumulate(map(len, starts)))  # windows up to each part's end
    n_batches = -(-ends[-1] // batch_size)
    n_chosen = min(limit or n_batches, n_batches)

    def window(number: int) -> tuple[int, int]:
        part = bisect_right(ends, number)
        return part, int(starts[part][number - (ends[part - 1] if part else 0)])

    for index in range(n_chosen):
        first = index * n_batches // n_chosen * batch_size
        windows = map(window, range(first, min(first + batch_size, ends[-1])))
        yield _filled(index, batch_size, block_size, source, windows, documents, loss)


def _starts_in_order(
    file: TokenFile, block_size: int, documents: Documents, loss: Loss
) -> Sequence[int] | NDArray[np.int64]:
    if documents == "padded":
        return DocumentRows.of(file, block_size, loss).all_starts()
    return range(0, file.n_tokens - 1, block_size) if loss == "all" else starts_in_order(file, block_size)


def _filled(
    index: int, batch_size: int, block_size: int, source: Source, windows: Iterable[tuple[int, int]],
    documents: Documents, loss: Loss,
) -> Batch:
    """The batch with windows, given as (part, first token), in its rows from 0 on, and padding in the others."""
    rows: dict[int, list[tuple[int, int]]] = {}  # part -> (row, first token)
    for row, (part, start) in enumerate(windows):
        rows.setdefault(part, []).append((row, start))
    batch: Batch | None = None
    for part, places in rows.items():
        row_numbers, starts = np.array(places, np.int64).T
        n_documents_before = sum(file.n_documents for file in source.parts[:part])
        found = _read(source.parts[part], starts, block_size, n_documents_before, documents, loss)
        if len(places) == batch_size:
            batch = Batch(index, *found)
        else:
            batch = batch or Batch.padding(index, batch_size, block_size)
            for array, values in zip((batch.inputs, batch.targets, batch.weights, batch.documents), found, strict=True):
                array[row_numbers] = values
    assert batch is not None
    if documents == "separate":
        return replace(batch, positions=positions_in(batch.documents))
    return _shortened(batch) if documents == "padded" else batch


def _shortened(batch: Batch) -> Batch:
    """Without the columns that are padding in all rows."""
    used = max(1, np.count_nonzero((batch.documents >= 0).any(axis=0)))

    def cut(array: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(array[:, :used])

    return replace(
        batch, inputs=cut(batch.inputs), targets=cut(batch.targets), weights=cut(batch.weights),
        documents=cut(batch.documents),
    )


def _read(
    file: TokenFile, starts: NDArray[np.int64], block_size: int, n_documents_before: int, mode: Documents, loss: Loss
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """One file's windows from `starts` (n,) on, up to its end: inputs, targets, weights, documents (n, T)."""
    positions = starts[:, None] + np.arange(block_size + 1)  # (n, T + 1)
    tokens = file.tokens.take(positions, mode="clip")  # behind the end the last one, which is then not counted
    check_range(file, tokens)
    in_document = file.document_starts.searchsorted(positions, side="right") + (n_documents_before - 1)
    inside = positions[:, 1:] < file.n_tokens  # (n, T): the token and the one that follows are in the row
    if mode == "padded":
        inside &= in_document[:, 1:] == in_document[:, :1]
    counted = inside & (in_document[:, 1:] == in_document[:, :-1]) if mode == "separate" else inside
    if loss == "answers":
        counted = counted & file.is_answer(positions[:, 1:])
    inputs, targets = tokens[:, :-1].astype(np.int32), tokens[:, 1:].astype(np.int32)
    documents = in_document[:, :-1].astype(np.int32)
    if not counted.all():
        inputs[~inside], targets[~counted], documents[~inside] = 0, -1, -1
    return inputs, targets, counted.astype(np.float32), documents
