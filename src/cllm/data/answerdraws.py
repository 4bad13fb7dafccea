"""Where windows begin when answers alone are counted: those of which at least one target is part of an answer.

The same two ways as in draws.py, pure functions of (seed, number of the sample) as there; and all in order, for
evaluation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm import philox
from cllm.data.draws import BLOCK, memo, permuted, phase_of, uniform, windows_per_epoch
from cllm.data.tokenfile import TokenFile
from cllm.errors import DataError

_CHUNK = 1 << 16  # answers that are looked at together


class ShuffledAnswers:
    """As ShuffledStarts, but for the windows without a counted target, which are left out of the permutation.

    How many are left depends on the phase, so that epochs differ in length: `n_per_epoch` is that of the first. Where
    a sample is needed, the lengths of all epochs up to its own are worked out, once for each of the 2 * block_size
    phases at the most. The windows of one epoch are held, in 4 bytes each, and one more while they are looked for.
    """

    def __init__(self, file: TokenFile, block_size: int, seed: int, part: int = 0) -> None:
        """Raises DataError where no target would ever be counted."""
        self._n_windows = windows_per_epoch(file.n_tokens, block_size)
        refuse_without_answers([file])
        self._file = file
        self._block_size = block_size
        self._seed = seed
        self._part = part
        self._lengths: dict[int, int] = {}  # by phase
        self._ends: list[int] = []  # the samples up to the end of each epoch
        self._windows = lru_cache(maxsize=1)(self._make_windows)
        self.n_per_epoch = max(1, self._length(0))
        self._block = memo(self._make_block, self.n_per_epoch)

    def __call__(self, sample: int) -> int:
        while not self._ends or self._ends[-1] <= sample:
            self._ends.append(self._length(len(self._ends)) + (self._ends[-1] if self._ends else 0))
        epoch = bisect_right(self._ends, sample)
        index = sample - (self._ends[epoch - 1] if epoch else 0)
        return self._block(epoch, index // BLOCK)[index % BLOCK]

    def _make_block(self, epoch: int, block: int) -> list[int]:
        windows = self._windows(epoch)
        key = epoch | self._part << 32
        place = permuted(block * BLOCK, len(windows), self._seed, philox.STREAM_SHUFFLE, key)
        starts: list[int] = (windows[place].astype(np.int64) * self._block_size + self._phase(epoch)).tolist()
        return starts

    def _make_windows(self, epoch: int) -> NDArray[Any]:
        return _numbers(_counted(self._file, self._block_size, self._phase(epoch), self._n_windows))

    def _length(self, epoch: int) -> int:
        phase = self._phase(epoch)
        if phase not in self._lengths:
            counted = _counted(self._file, self._block_size, phase, self._n_windows)
            self._lengths[phase] = int(np.count_nonzero(counted))
        return self._lengths[phase]

    def _phase(self, epoch: int) -> int:
        return phase_of(epoch, self._file.n_tokens - self._n_windows * self._block_size, self._seed, self._part)


class RandomAnswers:
    """Windows that begin at any token such that a target is counted, each of them equally likely.

    That is as RandomStarts, drawn again where no target is counted, without having to draw again: such tokens are
    intervals, of which the begins and the sums of lengths are held, at the most 16 bytes for each window of an epoch.
    """

    def __init__(self, file: TokenFile, block_size: int, seed: int, part: int = 0) -> None:
        """Raises DataError where no target would ever be counted."""
        self.n_per_epoch = windows_per_epoch(file.n_tokens, block_size)
        refuse_without_answers([file])
        self._seed = seed
        self._part = part
        intervals = list(_intervals(file, block_size))
        self._firsts = np.concatenate([firsts for firsts, _ in intervals])
        lengths = np.concatenate([ends for _, ends in intervals]) - self._firsts
        self._n_before = np.cumsum(lengths) - lengths
        self._n_starts = int(lengths.sum())
        self._block = memo(self._make_block, BLOCK)

    def __call__(self, sample: int) -> int:
        return self._block(0, sample // BLOCK)[sample % BLOCK]

    def _make_block(self, _: int, block: int) -> list[int]:
        drawn = uniform(block * BLOCK, self._n_starts, self._seed, philox.STREAM_WINDOW, self._part).astype(np.int64)
        interval = np.searchsorted(self._n_before, drawn, side="right") - 1
        starts: list[int] = (self._firsts[interval] + drawn - self._n_before[interval]).tolist()
        return starts


def starts_in_order(file: TokenFile, block_size: int) -> NDArray[np.int64]:
    """The first tokens of the windows from token 0 on that have a counted target, (n,), 8 bytes each."""
    counted = _counted(file, block_size, 0, -(-(file.n_tokens - 1) // block_size))
    return np.flatnonzero(counted) * block_size


def refuse_without_answers(files: Sequence[TokenFile]) -> None:
    """DataError for the first file in which no token that can be a target is part of an answer."""
    for file in files:
        # The first token of a file follows none.
        if not file.n_answers or int(file.answers[-1, 1]) < 2:
            came = f"{file.path} has no answers among its {file.n_tokens:,} tokens" if not file.n_answers else (
                f"{file.path} has an answer at its first token alone"
            )
            todo = (
                "prepare it with the loader squad, or with --set 'answers=[...]' of a loader with a template; or set "
                'loss = "all"'
            )
            raise DataError("data", came, 'answers in every part of the data, for [data] loss = "answers"', todo)


def _counted(file: TokenFile, block_size: int, phase: int, n: int) -> NDArray[np.bool_]:
    """Which of the n windows from token `phase` on have a target that is part of an answer; (n,)."""
    counted = np.zeros(n, np.bool_)
    for answers in _chunks(file):
        # The target of a window's first place is its second token.
        first = np.maximum(answers[:, 0] - 1 - phase, 0) // block_size
        last = (answers[:, 1] - 2 - phase) // block_size
        met = (last >= 0) & (first < n)
        first, last = first[met], np.minimum(last[met], n - 1)
        counted[first] = True
        counted[last] = True
        for between in np.flatnonzero(last - first > 1).tolist():  # together no more than n
            counted[first[between] : last[between]] = True
    return counted


def _numbers(counted: NDArray[np.bool_]) -> NDArray[Any]:
    """Which are true, in 4 bytes each."""
    numbers = np.empty(int(np.count_nonzero(counted)), np.uint32 if len(counted) <= 1 << 32 else np.uint64)
    done = 0
    for start in range(0, len(counted), _CHUNK):
        found = np.flatnonzero(counted[start : start + _CHUNK])
        numbers[done : done + len(found)] = found + start
        done += len(found)
    return numbers


def _intervals(file: TokenFile, block_size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(begins, ends) of the tokens at which a window can begin so that it has a counted target; none touch."""
    last = np.empty((0, 2), np.int64)  # it may go on
    for answers in _chunks(file):
        begins = np.maximum(answers[:, 0] - block_size, 0)
        ends = np.minimum(answers[:, 1] - 1, file.n_tokens - block_size)
        some = begins < ends
        begins, ends = np.append(last[:, 0], begins[some]), np.append(last[:, 1], ends[some])
        apart = begins[1:] > ends[:-1]
        begins, ends = begins[np.append(True, apart)[: len(begins)]], ends[np.append(apart, True)[: len(ends)]]
        yield begins[:-1], ends[:-1]
        last = np.stack([begins[-1:], ends[-1:]], axis=1)
    yield last[:, 0], last[:, 1]


def _chunks(file: TokenFile) -> Iterator[NDArray[np.int64]]:
    for start in range(0, file.n_answers, _CHUNK):
        yield file.answers[start : start + _CHUNK]
