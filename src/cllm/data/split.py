"""Which tokens go to training and which to validation.

A pure function of the documents' lengths, never of a seed of the user's: so the validation part stays the
same for every run on a text, and losses can be compared.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cllm import philox
from cllm.data.draws import BLOCK, permuted

_SEED = 0

Ranges = NDArray[np.int64]  # (n, 2): first token and end of each document


def split(documents: Ranges, validation: float) -> tuple[Ranges, Ranges]:
    """The ranges for training and those held out for validation, both in the order of `documents`.

    validation: the share to hold out, 0 <= validation < 1. Whole documents are held out where that gives
    about this share of the tokens; else, as of a single document, an end: that of the longest one.
    """
    begins, ends = documents[:, 0], documents[:, 1]
    bounds = ends - _n_held_out(ends - begins, validation)
    return _not_empty(begins, bounds), _not_empty(bounds, ends)


def cut(n_tokens: int, validation: float) -> int:
    """Where the last part by position begins: floor(n * (1 - validation)), as nanoGPT; no part is empty.

    n_tokens itself where there is no such part: a share of 0, or a single token.
    """
    if validation == 0 or n_tokens == 1:
        return n_tokens
    return min(max(1, math.floor(n_tokens * (1.0 - validation))), n_tokens - 1)


def _n_held_out(lengths: NDArray[np.int64], validation: float) -> NDArray[np.int64]:
    """How many tokens at each document's end are held out: none or all, but of the one that is cut; (n,)."""
    chosen = _whole_documents(lengths, validation)
    if chosen.any() or validation == 0:
        return np.where(chosen, lengths, 0)
    n_tokens, longest = int(lengths.sum()), int(lengths.argmax())
    held_out = np.zeros_like(lengths)
    held_out[longest] = min(n_tokens - cut(n_tokens, validation), lengths[longest])
    return held_out


def _whole_documents(lengths: NDArray[np.int64], validation: float) -> NDArray[np.bool_]:
    """The documents to hold out: in the order of a keyed permutation, as many as the share says; none if that fails.

    One after which a part would have more than twice, or less than half, of its own share of the tokens is
    passed over; and as long as the held-out ones have less than half of theirs, more are taken. It fails where
    they have less in the end.
    """
    chosen = np.zeros(len(lengths), np.bool_)
    n_tokens, n_wanted = int(lengths.sum()), max(1, math.floor(len(lengths) * validation + 0.5))
    share = n_tokens * validation
    least, most = share / 2, min(2 * share, (n_tokens + share) / 2, n_tokens - 1)
    n_held_out = n_chosen = 0
    for document in _shuffled(len(lengths)):
        if n_held_out >= least and n_chosen >= n_wanted:
            break
        if n_held_out + int(lengths[document]) <= most:
            chosen[document] = True
            n_held_out += int(lengths[document])
            n_chosen += 1
    return chosen if n_held_out >= least else np.zeros_like(chosen)


def _shuffled(n: int) -> NDArray[np.int64]:
    """The numbers below n in the order of a keyed permutation."""
    blocks = [permuted(first, n, _SEED, philox.STREAM_SHUFFLE, 0) for first in range(0, n, BLOCK)]
    return np.argsort(np.concatenate(blocks))


def _not_empty(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> Ranges:
    ranges = np.stack([begins, ends], axis=1)
    return ranges[begins < ends]
