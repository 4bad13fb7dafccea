"""Rows of a batch that end where their document ends, and what keeps the documents of one row apart.

`[data] documents` says how documents come into windows of T = block_size tokens:

    joined     windows run on over the ends of documents, and a token sees all that is before it in its window
    separate   the same windows, but a token sees its own document only: positions count from the document's beginning
               in the window, and the first token of a document, before which there is nothing, is no target
    padded     a row is one document, or T tokens of a longer one; what is missing is padding
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cllm import philox
from cllm.data.answerdraws import refuse_without_answers
from cllm.data.draws import BLOCK, memo, permuted, uniform
from cllm.data.tokenfile import TokenFile
from cllm.errors import DataError

CHUNK = 1 << 16  # rows that are looked at together

Documents = Literal["joined", "separate", "padded"]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DocumentRows:
    """The rows of a file that have something to count, in order.

    A document of n tokens has n - 1 targets: it gives one row for each T of them. Where answers alone are counted, rows
    without any are left out.
    """

    file: TokenFile
    block_size: int
    ends: Int64  # (n_documents,) rows up to each document's end, those included that are left out
    kept: Int64 | None  # (n,) numbers of those that are not; None: all are kept

    @classmethod
    def of(cls, file: TokenFile, block_size: int, loss: str = "all") -> DocumentRows:
        n_targets = np.diff(file.document_starts, append=file.n_tokens) - 1
        rows = cls(file, block_size, np.cumsum(-(-n_targets // block_size)), None)
        if loss == "all":
            return rows
        return replace(rows, kept=np.concatenate([np.empty(0, np.int64), *rows._with_answers()]))

    @property
    def n(self) -> int:
        return int(self.ends[-1]) if self.kept is None else len(self.kept)

    def starts(self, rows: Int64) -> Int64:
        """The first tokens of rows, by their numbers among those that are kept."""
        return self._places(rows if self.kept is None else self.kept[rows])[0]

    def all_starts(self) -> Int64:
        """The first tokens of all rows that are kept."""
        return self.starts(np.arange(self.n))

    def _with_answers(self) -> Iterator[Int64]:
        """The rows with a target that is part of an answer, in order, some at a time."""
        n_rows, document_ends = int(self.ends[-1]), np.append(self.file.document_starts[1:], self.file.n_tokens)
        # Behind the last answer stands one that no row reaches.
        begins, ends = np.append(self.file.answers[:, 0], self.file.n_tokens), self.file.answers[:, 1]
        for first in range(0, n_rows, CHUNK):
            rows = np.arange(first, min(first + CHUNK, n_rows))
            starts, document = self._places(rows)
            # The first answer that ends behind the row's first target, if it begins before the last one's end.
            answer = np.searchsorted(ends, starts + 1, side="right")
            yield rows[begins[answer] < np.minimum(starts + self.block_size + 1, document_ends[document])]

    def _places(self, rows: Int64) -> tuple[Int64, Int64]:
        """The first tokens and the documents of rows, of all that there are."""
        document = np.searchsorted(self.ends, rows, side="right")
        rows_before = np.where(document > 0, self.ends[document - 1], 0)
        return self.file.document_starts[document] + (rows - rows_before) * self.block_size, document


class DocumentStarts:
    """Where the samples begin: all rows in the order of a keyed permutation, or rows drawn, each equally likely."""

    def __init__(
        self, file: TokenFile, block_size: int, seed: int, part: int, sampling: str, loss: str = "all"
    ) -> None:
        """Raises DataError where no document has two tokens, or none an answer to count."""
        if loss == "answers":
            refuse_without_answers([file])
        self._rows = DocumentRows.of(file, block_size, loss)
        self.n_per_epoch = self._rows.n
        if not self.n_per_epoch:
            what = "two tokens" if loss == "all" else "an answer behind its first token"
            came, expected = f"{file.path}, in which no document has {what}", "a document with a token to predict"
            raise DataError("data", came, expected, 'take other text, or [data] documents = "joined"')
        self._seed, self._part, self._shuffles = seed, part, sampling == "shuffle"
        self._block = memo(self._make_block, min(self.n_per_epoch, BLOCK))

    def __call__(self, sample: int) -> int:
        epoch, index = divmod(sample, self.n_per_epoch) if self._shuffles else (0, sample)
        return self._block(epoch, index // BLOCK)[index % BLOCK]

    def _make_block(self, epoch: int, block: int) -> list[int]:
        n, first = self.n_per_epoch, block * BLOCK
        if self._shuffles:
            rows = permuted(first, n, self._seed, philox.STREAM_SHUFFLE, epoch | self._part << 32)
        else:
            rows = uniform(first, n, self._seed, philox.STREAM_WINDOW, self._part).astype(np.int64)
        return self._rows.starts(rows).tolist()  # type: ignore[no-any-return]


def positions_in(documents: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of documents (B, T) of tokens, the place of each token after the first of its document in the row."""
    places = np.arange(documents.shape[1], dtype=np.int32)
    begins = np.zeros(documents.shape, np.int32)
    begins[:, 1:] = np.where(documents[:, 1:] != documents[:, :-1], places[1:], 0)
    return places - np.maximum.accumulate(begins, axis=1)
