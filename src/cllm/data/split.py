"""Which documents go to training and which to validation.

A pure function of how many there are, never of a seed of the user's: so the validation part stays the
same for every run on a text, and losses can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from cllm import philox
from cllm.data.draws import BLOCK, permuted

_SEED = 0

Ranges = NDArray[np.int64]  # (n, 2): first token and end of each document


def pick(blocks: Iterable[Ranges], n_documents: int, validation: float, held_out: bool) -> Iterator[Ranges]:
    """Pick the documents for training, or those held out for validation, from the ranges of all.

    blocks: the ranges in order, BLOCK at a time; validation: the share to hold out, 0 <= validation < 1.
    Of several documents about that share (at least one, never all) is held out, by a keyed permutation;
    of a single one, its last part by position (see cut).
    """
    if n_documents == 1:
        yield from (_cut_one(block, validation, held_out) for block in blocks)
        return
    n_held_out = _n_held_out(n_documents, validation)
    for number, block in enumerate(blocks):
        places = permuted(number * BLOCK, n_documents, _SEED, philox.STREAM_SHUFFLE, 0)
        yield block[(places < n_held_out) == held_out]


def cut(n_tokens: int, validation: float) -> int:
    """Where the last part by position begins: floor(n * (1 - validation)), as nanoGPT; no part is empty.

    n_tokens itself where there is no such part: a share of 0, or a single token.
    """
    if validation == 0 or n_tokens == 1:
        return n_tokens
    return min(max(1, math.floor(n_tokens * (1.0 - validation))), n_tokens - 1)


def _n_held_out(n_documents: int, validation: float) -> int:
    if validation == 0:
        return 0
    return min(max(1, math.floor(n_documents * validation + 0.5)), n_documents - 1)


def _cut_one(block: Ranges, validation: float, held_out: bool) -> Ranges:
    n_tokens = int(block[0, 1])
    end = cut(n_tokens, validation)
    first, last = (end, n_tokens) if held_out else (0, end)
    return np.array([[first, last]] if first < last else np.empty((0, 2)), np.int64)
