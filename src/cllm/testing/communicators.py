"""What every communicator is held to: whose bytes come where, sizes of all kinds, and what other ranks hear of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from cllm.errors import CllmError
from cllm.hooks.making import check_shape
from cllm.hooks.protocols import Communicator

Float32 = NDArray[np.float32]

LARGE = 1_000_003  # elements: more than any buffer on the way takes while nobody reads
LAG = 0.01  # seconds by which ranks come late, each in its turn
# How many elements rank `sender` has for rank `to`.
PIECES: tuple[Callable[[int, int], int], ...] = (
    lambda sender, to: 5 + 3 * sender + to,
    lambda sender, to: 0,
    lambda sender, to: 7 * (sender != 0),
    lambda sender, to: 7 * (to != 0),
    lambda sender, to: 11 * ((sender + to) % 2),
    lambda sender, to: LARGE,
)
# How long the slice of a rank is, of so many.
SLICES: tuple[Callable[[int, int], int], ...] = (
    lambda rank, size: 10 + rank,
    lambda rank, size: 9 * (rank == 0),
    lambda rank, size: 9 * (rank == size - 1),
    lambda rank, size: LARGE // (1 + rank),
)


def check_communicator(communicator: Communicator) -> None:
    """Hold a communicator to what cllm asks of every one. Raises AssertionError that says what it does not keep.

    All ranks call it at the same time, each with its own: in processes that a launcher has started, or in threads. Each
    makes all calls whatever it finds, so that none waits for one that has left.

    - It has the attributes and methods of its kind, and every rank hears of every other. One of size 1 is asked for no
      more.
    - `tell` gives the words of each rank by rank, none and long ones too.
    - `exchange` and `gather` move pieces of unequal sizes, empty ones, and such as no buffer takes, to the bit; what is
      IN is not written to, and may be used again once the call is over.
    - `add_up` gives the sum with the same bits on every rank; a NaN or an infinity in an element comes through, and
      leaves the others alone.
    - Ranks may come late to any call.

    `abort` is not tried.
    """
    who = f"communicator {type(communicator).__name__}"
    try:
        check_shape("communicator", communicator, who)
    except CllmError as error:
        raise AssertionError(str(error)) from error
    rank, size = communicator.rank, communicator.size
    assert 0 <= rank < size, f"{who}: rank {rank} of {size}"
    wrong = [] if size == 1 else [what for check in CHECKS for what in check(communicator, rank, size)]
    assert not wrong, f"{who}: on rank {rank} of {size}, {wrong[0]}"


def _check_words(communicator: Communicator, rank: int, size: int) -> Iterator[str]:
    every_byte = bytes(range(256))
    for turn, words in enumerate((
        [b"%d" % one for one in range(size)],
        [b""] * size,
        [every_byte * one for one in range(size)],
        [b"" if one else every_byte * 2000 for one in range(size)],
        [every_byte * (3 + one) for one in range(size)],
    )):
        _come_late(turn, rank, size)
        heard = communicator.tell(words[rank])
        if len(heard) != size:
            yield f"tell gives {len(heard)} words"
        for one, (word, there) in enumerate(zip(words, heard, strict=False)):
            if word != there:
                yield f"tell gives {_short(there)} for the {_short(word)} of rank {one}"


def _check_exchange(communicator: Communicator, rank: int, size: int) -> Iterator[str]:
    for turn, n_of in enumerate(PIECES):
        sent = _views([_bits(turn, rank, to, n_of(rank, to)) for to in range(size)])
        received = _views([np.full(n_of(sender, rank), np.nan, dtype=np.float32) for sender in range(size)])
        kept = [piece.tobytes() for piece in sent]
        _come_late(turn, rank, size)
        communicator.exchange(sent, received)
        if [piece.tobytes() for piece in sent] != kept:
            yield "exchange writes to what is sent, which is IN"
        for piece in sent:
            piece[...] = 0.0  # which must not reach anyone any more
        for sender, piece in enumerate(received):
            if piece.tobytes() != _bits(turn, sender, rank, piece.size).tobytes():
                yield f"exchange gives something else than the {piece.size} elements of rank {sender}"


def _check_gather(communicator: Communicator, rank: int, size: int) -> Iterator[str]:
    for turn, n_of in enumerate(SLICES):
        bounds = [0, *accumulate(n_of(one, size) for one in range(size))]
        whole = np.full(bounds[-1], np.nan, dtype=np.float32)
        own = whole[bounds[rank] : bounds[rank + 1]]
        own[...] = _bits(turn, rank, 0, own.size)
        _come_late(turn, rank, size)
        communicator.gather(whole, bounds)
        for one, (first, last) in enumerate(pairwise(bounds)):
            if whole[first:last].tobytes() != _bits(turn, one, 0, last - first).tobytes():
                yield f"gather gives something else than the {last - first} elements of rank {one}"


def _check_sums(communicator: Communicator, rank: int, size: int) -> Iterator[str]:
    for turn, n in enumerate((1, size + 1, LARGE)):
        terms = [_numbers(turn, one, n) for one in range(size)]
        total = terms[rank].copy()
        _come_late(turn, rank, size)
        communicator.add_up(total)
        if len(set(communicator.tell(blake2b(total.tobytes()).digest()))) > 1:
            yield f"add_up of {n} elements has other bits than on another rank"
        exact, size_of = np.zeros(n), np.zeros(n)
        for term in terms:
            exact, size_of = exact + term, size_of + np.abs(term)
        n_wrong = n - np.count_nonzero(np.abs(total - exact) <= 1e-6 * size_of)
        if n_wrong:
            yield f"add_up gives no sum, at {n_wrong} of {n} elements"


def _check_poison(communicator: Communicator, rank: int, size: int) -> Iterator[str]:
    for poison in (np.nan, np.inf, -np.inf):
        total = np.ones(16 * size, dtype=np.float32)
        places = list(range(1, len(total), 16))  # one of each rank
        total[places[rank]] = poison
        with np.errstate(all="ignore"):
            communicator.add_up(total)
        found = np.flatnonzero(~np.isfinite(total)).tolist()
        if found != places:
            yield f"add_up of {poison} in the elements {places} has what is not finite in {found[:5]}"


CHECKS = (_check_words, _check_exchange, _check_gather, _check_sums, _check_poison)


def _come_late(turn: int, rank: int, size: int) -> None:
    time.sleep(LAG * ((rank + turn) % size))


def _bits(turn: int, sender: int, to: int, n: int) -> Float32:
    """(n,) of any bits: numbers of all magnitudes, zeros with a sign, NaNs that say something."""
    generator = np.random.default_rng([turn, sender, to])
    return generator.integers(0, 1 << 32, n, dtype=np.uint32).view(np.float32)


def _numbers(turn: int, rank: int, n: int) -> Float32:
    """(n,) of which sums in another order have other bits."""
    return np.random.default_rng([turn, rank]).standard_normal(n).astype(np.float32)


def _views(pieces: Sequence[Float32]) -> list[Float32]:
    """The same as slices of one array, as cllm gives them."""
    bounds = [0, *accumulate(len(piece) for piece in pieces)]
    whole = np.concatenate(pieces)
    return [whole[first:last] for first, last in pairwise(bounds)]


def _short(words: bytes) -> str:
    return f"{bytes(words)!r}" if len(words) < 20 else f"{len(words)} bytes"
