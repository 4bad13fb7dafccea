"""Rows of a batch that end where their document ends, and what keeps the documents of one row apart.

`[data] documents` says how documents come into windows of T = block_size tokens:

    joined     windows run on over the ends of documents, and a token sees all that is before it in its window
    separate   the same windows, but a token sees its own document only: positions count from the document's beginning
               in the window, and the first token of a document, before which there is nothing, is no target
    padded     a row is one document, or T tokens of a longer one; what is missing is padding
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cllm import philox
from cllm.data.draws import BLOCK, memo, permuted, uniform
from cllm.data.tokenfile import TokenFile
from cllm.errors import DataError

Documents = Literal["joined", "separate", "padded"]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DocumentRows:
    """All rows of a file, in order. A document of n tokens has n - 1 targets: it gives one row for each T of them."""

    block_size: int
    document_starts: Int64  # (n_documents,) in tokens
    ends: Int64  # (n_documents,) rows up to each document's end

    @classmethod
    def of(cls, file: TokenFile, block_size: int) -> DocumentRows:
        n_targets = np.diff(file.document_starts, append=file.n_tokens) - 1
        return cls(block_size, file.document_starts, np.cumsum(-(-n_targets // block_size)))

    @property
    def n(self) -> int:
        return int(self.ends[-1])

    def starts(self, rows: Int64) -> Int64:
        """The first tokens of rows, by their numbers."""
        document = np.searchsorted(self.ends, rows, side="right")
        rows_before = np.where(document > 0, self.ends[document - 1], 0)
        return self.document_starts[document] + (rows - rows_before) * self.block_size


class DocumentStarts:
    """Where the samples begin: all rows in the order of a keyed permutation, or rows drawn, each equally likely."""

    def __init__(self, file: TokenFile, block_size: int, seed: int, part: int, sampling: str) -> None:
        """Raises DataError where no document has two tokens."""
        self._rows = DocumentRows.of(file, block_size)
        self.n_per_epoch = self._rows.n
        if not self.n_per_epoch:
            came, expected = f"{file.path}, in which no document has two tokens", "a document with a token to predict"
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
