"""Where the samples of a token file begin: (seed, number of the sample) -> token offset.

Both ways count samples from 0 without end and work out a block of offsets at a time (vectorised
integers), since one permuted index costs 10 us in plain Python and a batch has under 100. The block that
is kept is a memo, not a state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm import philox
from cllm.errors import DataError, count

BLOCK = 4096  # samples worked out at once: some 2 ms of work every 4096 samples

Uint64 = NDArray[np.uint64]

_MASK32 = 0xFFFFFFFF


class ShuffledStarts:
    """Non-overlapping windows in the order of a keyed permutation, another one each epoch.

    Windows begin at phase, phase + block_size, ... and the phase too is drawn for each epoch, so that
    the same text does not always fall at the same places of a window. `part` tells the files of a
    mixture apart.
    """

    def __init__(self, n_tokens: int, block_size: int, seed: int, part: int = 0) -> None:
        self.n_per_epoch = windows_per_epoch(n_tokens, block_size)
        self._block_size = block_size
        self._n_phases = n_tokens - self.n_per_epoch * block_size  # so each token is reached at some phase
        self._seed = seed
        self._part = part
        self._block = memo(self._make_block, self.n_per_epoch)

    def __call__(self, sample: int) -> int:
        epoch, index = divmod(sample, self.n_per_epoch)
        return self._block(epoch, index // BLOCK)[index % BLOCK]

    def _make_block(self, epoch: int, block: int) -> list[int]:
        key = epoch | self._part << 32
        window = permuted(block * BLOCK, self.n_per_epoch, self._seed, philox.STREAM_SHUFFLE, key)
        phase = phase_of(epoch, self._n_phases, self._seed, self._part)
        return (window * self._block_size + phase).tolist()  # type: ignore[no-any-return]


class RandomStarts:
    """Windows that begin at any token, each equally likely and drawn anew, as nanoGPT does."""

    def __init__(self, n_tokens: int, block_size: int, seed: int, part: int = 0) -> None:
        self.n_per_epoch = windows_per_epoch(n_tokens, block_size)
        self._n_starts = n_tokens - block_size
        self._seed = seed
        self._part = part
        self._block = memo(self._make_block, BLOCK)

    def __call__(self, sample: int) -> int:
        return self._block(0, sample // BLOCK)[sample % BLOCK]

    def _make_block(self, _: int, block: int) -> list[int]:
        starts = uniform(block * BLOCK, self._n_starts, self._seed, philox.STREAM_WINDOW, self._part)
        return starts.tolist()  # type: ignore[no-any-return]


def windows_per_epoch(n_tokens: int, block_size: int) -> int:
    """How many windows fit, with their targets and at any phase, without overlap of their inputs."""
    if n_tokens <= block_size:
        raise DataError(
            who="data",
            came=f"{count(n_tokens, 'token')} for windows of block_size = {block_size}",
            expected=f"at least {block_size + 1:,} tokens in each part",
            todo="take more text or a smaller block_size",
        )
    return max(1, (n_tokens - block_size) // block_size)


def phase_of(epoch: int, n_phases: int, seed: int, part: int) -> int:
    """Where the first window of an epoch begins, 0 <= phase < n_phases."""
    return philox.uniform_below(n_phases, seed, philox.STREAM_SHUFFLE, epoch & _MASK32, part)


def permuted(first: int, n: int, seed: int, stream: int, epoch: int) -> NDArray[np.int64]:
    """philox.permute of the BLOCK indices from `first` on (fewer at the end of n): (k,) int64."""
    turn = _turn(philox.permutation_bits(n), philox.round_keys(seed, stream, epoch))
    values = turn(np.arange(first, min(n, first + BLOCK), dtype=np.uint64))
    while (outside := values >= n).any():
        values[outside] = turn(values[outside])
    return values.astype(np.int64)


def _turn(bits: int, keys: tuple[int, ...]) -> Callable[[Uint64], Uint64]:
    """One turn of philox.permute for arrays. Few items walk many turns: theirs are looked up in a table."""
    feistel: Any = philox.feistel  # its arithmetic is the same for integers and for arrays of uint64
    if 1 << bits > BLOCK:
        return lambda values: feistel(values, bits, keys)
    table: Uint64 = feistel(np.arange(1 << bits, dtype=np.uint64), bits, keys)
    return lambda values: table[values]


def uniform(first: int, n: int, seed: int, stream: int, part: int) -> Uint64:
    """philox.uniform_below(n, seed, stream, low half, high half, part) of the numbers first .. first +
    BLOCK - 1.

    `first` is a multiple of BLOCK, so that all numbers have one high half. Returns (BLOCK,) uint64.
    """
    low = np.arange(BLOCK, dtype=np.uint64) + np.uint64(first & _MASK32)
    high = first >> 32
    cipher: Any = philox.philox4x32  # serves arrays too, as above
    w0, w1, _, _ = cipher((low, high, part, 0), philox.key_of(seed, stream))
    draws: Uint64 = w1 << 32 | w0
    values = draws % np.uint64(n)
    for rejected in np.flatnonzero(draws >= (1 << 64) - (1 << 64) % n):
        values[rejected] = philox.uniform_below(n, seed, stream, int(low[rejected]), high, part)
    return values


def memo(make: Callable[[int, int], list[int]], n: int) -> Callable[[int, int], list[int]]:
    """Keep the last blocks, each of at most n; more if they are small, since a mixture's round reads across them."""
    return lru_cache(maxsize=4 + 2 * BLOCK // n)(make)
