"""Spans of tokens that are answers, kept on disk until it is known which documents go where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm.data.split import Ranges
from cllm.data.spoolfile import close, flush, reopened

Answers = NDArray[np.int64]  # (n, 2): first token and end of each span

_CHUNK = 1 << 13
SPAN_BYTES = 16


class AnswerState(msgspec.Struct, frozen=True):
    """Where a spool of answers stands: spans in the file, those of earlier documents, the one that may go on."""

    n: int = 0
    n_before: int = 0
    last: list[tuple[int, int]] = []


class AnswerSpool:
    """Appends spans to a file in `folder`, those that touch inside a document as one; memory is one chunk.

    So the spans do not depend on the pieces in which a document comes, which may divide an answer.
    """

    def __init__(self, folder: Path, state: AnswerState | None = None) -> None:
        """state: go on from there, with the file of then."""
        self._file = reopened(folder / "answers.spool", SPAN_BYTES * state.n if state else None)
        state = state or AnswerState()
        self._last = np.array(state.last, np.int64).reshape(-1, 2)  # (0 or 1, 2): the next span may go on with it
        self._n_before = state.n_before  # spans of the file that belong to earlier documents
        self._n = state.n  # spans of the file

    def saved(self) -> AnswerState:
        """What is on the disk by now, so that a state made of it finds it there again."""
        flush(self._file)
        return AnswerState(self._n, self._n_before, [(first, end) for first, end in self._last.tolist()])

    def begin_document(self) -> None:
        """What comes from here on belongs to another document."""
        self._write(self._last)
        self._last = self._last[:0]
        self._n_before = self._n

    def add(self, spans: Answers, shift: int) -> None:
        """Append spans (n, 2), to which `shift` is added, and which lie behind all that came."""
        if len(spans):
            spans = _merged(np.concatenate([self._last, spans + shift]))
            self._write(spans[:-1])
            self._last = spans[-1:]

    def take_back(self) -> None:
        """Forget those of the last document."""
        self._last = self._last[:0]
        self._n = self._n_before
        self._file.seek(self._n * SPAN_BYTES)
        self._file.truncate()

    def within(self, ranges: Ranges) -> Iterator[Answers]:
        """The spans inside ranges of tokens that rise, counted as if these stood one behind the other, in chunks.

        At most one of the ranges meets each span: they are documents, or ends of documents.
        """
        self._write(self._last)
        self._last = self._last[:0]
        firsts, ends = ranges[:, 0].copy(), ranges[:, 1].copy()
        shifts = np.cumsum(ends - firsts) - ends  # what to add to a place in a range
        for start in range(0, self._n, _CHUNK):
            spans = self._read(start, min(_CHUNK, self._n - start))
            place = np.searchsorted(ends, spans[:, 0], side="right")  # the first range that ends behind its begin
            spans, place = spans[place < len(ends)], place[place < len(ends)]
            clipped = np.clip(spans, firsts[place, None], ends[place, None])
            found = clipped[:, 0] < clipped[:, 1]
            yield clipped[found] + shifts[place[found], None]

    def close(self, remove: bool = True) -> None:
        """Close the file, and remove it."""
        close(self._file, remove)

    def _write(self, spans: Answers) -> None:
        self._file.write(spans.astype("<i8").tobytes())
        self._n += len(spans)

    def _read(self, start: int, n: int) -> Answers:
        self._file.seek(start * SPAN_BYTES)
        spans = np.frombuffer(self._file.read(n * SPAN_BYTES), "<i8").reshape(-1, 2)
        self._file.seek(0, 2)
        return spans


def _merged(spans: Answers) -> Answers:
    """Spans (n, 2), n > 0, those that touch as one."""
    apart = spans[1:, 0] != spans[:-1, 1]
    return np.stack([spans[np.append(True, apart), 0], spans[np.append(apart, True), 1]], axis=1)
