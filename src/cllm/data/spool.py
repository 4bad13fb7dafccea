"""Tokens kept on disk until it is known how many there are."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm.bounded import check_memory
from cllm.data.answerspool import SPAN_BYTES, Answers, AnswerSpool, AnswerState
from cllm.data.split import Ranges
from cllm.data.spoolfile import check_there, close, flush, reopened
from cllm.data.tokenfile import token_dtype

DOCUMENT = 70  # bytes that one takes while they are divided (split.py), its start included: 65 measured with 10^6
_CHUNK_TOKENS = 1 << 20
_CHECKED_EVERY = 1 << 16

NO_ANSWERS = np.empty((0, 2), np.int64)


class SpoolState(msgspec.Struct, frozen=True):
    """Where a spool stands."""

    n_tokens: int = 0
    n_documents: int = 0
    begins: bool = True
    answers: AnswerState = AnswerState()


class Spool:
    """Appends documents to a file in `folder`, then gives them back by ranges; memory is one chunk, and the starts.

    MemoryLimitError, soon, where there are more documents than this process can divide into parts.
    """

    def __init__(self, folder: Path, vocab_size: int, state: SpoolState | None = None) -> None:
        """state: go on from there, with the files of then. Raises Changed where they are not there, or shorter."""
        self._dtype = token_dtype(vocab_size)
        if state is not None:
            check_there(folder / "tokens.spool", self._dtype.itemsize * state.n_tokens)
            check_there(folder / "starts.spool", 8 * state.n_documents)
            check_there(folder / "answers.spool", SPAN_BYTES * state.answers.n)
        self._tokens = reopened(folder / "tokens.spool", self._dtype.itemsize * state.n_tokens if state else None)
        self._starts_file = reopened(folder / "starts.spool", 8 * state.n_documents if state else None)
        self._answers = AnswerSpool(folder, state.answers if state else None)
        state = state or SpoolState()
        self.n_tokens = state.n_tokens
        self._begins = state.begins  # a start is due: it is written with the first token that comes
        self._starts = array("q")  # where each document begins
        self._starts_file.seek(0)
        self._starts.frombytes(self._starts_file.read())
        self._n_saved = len(self._starts)  # of them in the file

    def saved(self) -> SpoolState:
        """What is on the disk by now, so that a state made of it finds it there again.

        Only as long as nothing of it is taken back.
        """
        flush(self._tokens)
        self._starts_file.write(self._starts[self._n_saved :].tobytes())
        self._n_saved = len(self._starts)
        flush(self._starts_file)
        return SpoolState(self.n_tokens, len(self._starts), self._begins, self._answers.saved())

    def add(self, tokens: NDArray[Any], begins: bool, answers: Answers = NO_ANSWERS) -> None:
        """Append tokens (n,) that begin a document or go on with it. An empty document leaves no trace.

        answers: (k, 2), which of these tokens are answers.
        """
        self._begins = self._begins or begins
        if not len(tokens):
            return
        if self._begins:
            self._begins = False
            self._answers.begin_document()
            self._starts.append(self.n_tokens)
            if len(self._starts) % _CHECKED_EVERY == 0:
                self._check_memory()
        self._tokens.write(np.ascontiguousarray(tokens, self._dtype).data)
        self._answers.add(answers, self.n_tokens)
        self.n_tokens += len(tokens)

    def take_back(self, begin: int) -> None:
        """Forget the last document, which begins with the token `begin` and is not empty."""
        self._tokens.seek(begin * self._dtype.itemsize)
        self._tokens.truncate()
        self._starts.pop()
        self._answers.take_back()
        self.n_tokens = begin
        self._begins = True

    def _check_memory(self) -> None:
        todo = "prepare the text in parts, and train on a [data] mixture of them"
        check_memory({"documents": DOCUMENT * self.n_documents}, f"{self.n_documents:,} documents so far", todo)

    @property
    def n_documents(self) -> int:
        return len(self._starts)

    def documents(self) -> Ranges:
        """The token ranges of all documents in order."""
        starts = np.array(self._starts, np.int64)
        return np.stack([starts, np.append(starts[1:], self.n_tokens)], axis=1)

    def tokens(self, ranges: Ranges) -> Iterator[NDArray[Any]]:
        """The tokens of the ranges, one after the other, in chunks."""
        for first, end in _joined(ranges):
            for start in range(first, end, _CHUNK_TOKENS):
                yield self._read(start, min(_CHUNK_TOKENS, end - start))

    def answers(self, ranges: Ranges) -> Iterator[Answers]:
        """The answers (k, 2) inside the ranges, counted in the tokens that `tokens` gives, in chunks."""
        return self._answers.within(ranges)

    def close(self, remove: bool = True) -> None:
        """Close the files, and remove them unless somebody goes on with them."""
        self._answers.close(remove)
        close(self._starts_file, remove)
        close(self._tokens, remove)

    def _read(self, start: int, n: int) -> NDArray[Any]:
        self._tokens.seek(start * self._dtype.itemsize)
        return np.frombuffer(self._tokens.read(n * self._dtype.itemsize), self._dtype)


def _joined(ranges: Ranges) -> list[list[int]]:
    """Ranges that touch, made one: most documents go to the same part as their neighbours."""
    if not len(ranges):
        return []
    breaks = np.flatnonzero(ranges[1:, 0] != ranges[:-1, 1])
    firsts = ranges[np.append(0, breaks + 1), 0]
    ends = ranges[np.append(breaks, len(ranges) - 1), 1]
    joined: list[list[int]] = np.stack([firsts, ends], axis=1).tolist()
    return joined
