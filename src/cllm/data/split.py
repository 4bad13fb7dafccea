"""Which documents go to training and which to validation.

A pure function of how many there are, never of a seed of the user's: so the validation part stays the
same for every run on a text, and losses can be compared.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cllm import philox
from cllm.data.draws import BLOCK, permuted

_SEED = 0

Ranges = NDArray[np.int64]  # (n, 2): first token and end of each document of a part


def split(document_starts: NDArray[np.int64], n_tokens: int, validation: float) -> tuple[Ranges, Ranges]:
    """Token ranges of the documents for training and for validation, each in their order.

    document_starts: (n_documents,), ascending from 0; validation: the share for it, 0 <= validation < 1.
    Of several documents about that share (at least one, not all) is picked by a keyed permutation; a
    single one gives its last part by position: of n tokens, those from floor(n * (1 - validation)) on,
    as nanoGPT does. Too short to be cut, or a share of 0: the second array is empty.
    """
    ranges = np.stack([document_starts, np.append(document_starts[1:], n_tokens)], axis=1)
    if validation == 0 or n_tokens == 1:
        return ranges, ranges[:0]
    if len(ranges) == 1:
        end = cut(n_tokens, validation)
        return np.array([[0, end]]), np.array([[end, n_tokens]])
    chosen = _chosen(len(ranges), validation)
    return ranges[~chosen], ranges[chosen]


def cut(n_tokens: int, validation: float) -> int:
    """Where the last part by position begins: floor(n * (1 - validation)), as in nanoGPT, but neither
    part is empty.

    n_tokens itself where there is no such part: a share of 0, or a single token.
    """
    if validation == 0 or n_tokens == 1:
        return n_tokens
    return min(max(1, math.floor(n_tokens * (1.0 - validation))), n_tokens - 1)


def _chosen(n: int, validation: float) -> NDArray[np.bool_]:
    n_chosen = min(max(1, math.floor(n * validation + 0.5)), n - 1)
    places = [permuted(first, n, _SEED, philox.STREAM_SHUFFLE, 0) for first in range(0, n, BLOCK)]
    return np.concatenate(places) < n_chosen
