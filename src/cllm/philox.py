"""Random integers that depend on nothing but their coordinates: Philox4x32-10 in plain Python.

The kernels compute the same function over arrays (dropout, initial values); this file serves what is drawn
one at a time: the order of samples, the parts of a mixture, a sampled token. No generator keeps a state, so
a run that resumes draws what it would have drawn.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC11, whose known answers are in the tests.
"""

from __future__ import annotations

from functools import lru_cache

STREAM_INIT = 1
STREAM_DROPOUT = 2
STREAM_SHUFFLE = 3
STREAM_WINDOW = 4
STREAM_SAMPLE = 5
STREAM_MIXTURE = 6

SEED_BITS = 32  # half of the key; the other half is the stream's, so that no two (seed, stream) share a draw

Counter = tuple[int, int, int, int]

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF
_TWO64 = 1 << 64
_ROUNDS = 10
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85

_FEISTEL_ROUNDS = 8  # even, so that halves of unequal width are back in their places at the end
# In fewer than 6 bits the orders of 3 to 5 items come up visibly unevenly (test_philox.py).
_FEISTEL_LEAST_BITS = 8


def philox4x32(counter: Counter, key: tuple[int, int]) -> Counter:
    """Return the four words of Philox4x32-10 for four counter words and two key words, all below 2^32."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (
            (product_1 >> 32) ^ c1 ^ k0,
            product_1 & _MASK32,
            (product_0 >> 32) ^ c3 ^ k1,
            product_0 & _MASK32,
        )
        k0 = (k0 + _WEYL_0) & _MASK32
        k1 = (k1 + _WEYL_1) & _MASK32
    return c0, c1, c2, c3


def key_of(seed: int, stream: int) -> tuple[int, int]:
    """Return the key of a seed and a stream: the two, side by side, so that no two pairs share a draw.

    The kernels take 64 bits and put the upper ones over the stream by exclusive or: there a seed of 2^32 or more
    would meet another one's draws, so none comes this far (config's rules, kernels.normal, this function).
    """
    if not 0 <= seed < 1 << SEED_BITS:
        raise ValueError(f"a seed lies in 0 <= seed < 2^{SEED_BITS}, not {seed}")
    return seed, stream


def uniform_below(n: int, seed: int, stream: int, *counter: int) -> int:
    """Return an integer in 0 <= x < n, each equally likely, for up to three counter words (each below 2^32).

    64-bit draws beyond the largest multiple of `n` are drawn again (the fourth counter word counts them),
    so that no remainder is favoured; never more than every second one.
    """
    if not 0 < n <= _TWO64:
        raise ValueError(f"a uniform draw lies below some n in 1 <= n <= 2^64, not {n}")
    c0, c1, c2 = _three_words(counter)
    key = key_of(seed, stream)
    limit = _TWO64 - _TWO64 % n
    attempt = 0
    while True:
        low, high, _, _ = philox4x32((c0, c1, c2, attempt), key)
        draw = high << 32 | low
        if draw < limit:
            return draw % n
        attempt += 1


def unit(seed: int, stream: int, *counter: int) -> float:
    """Return a float64 in 0 <= x < 1, exactly a multiple of 2^-53, for up to three counter words."""
    return uniform_below(1 << 53, seed, stream, *counter) * 2.0**-53


def permute(index: int, n: int, seed: int, stream: int, epoch: int) -> int:
    """Return where a keyed permutation of 0 .. n-1 sends `index`; one permutation per (seed, stream, epoch).

    Nothing is stored: a Feistel network permutes the smallest power of two that holds `n` (at least 256),
    and a result outside is sent through again until it falls inside (cycle walking: from 128 items on,
    fewer than two turns on average). Keys come from Philox; the rounds may mix more simply, for the order
    is no secret.
    """
    if not 0 <= index < n:
        raise ValueError(f"an index into {n} items lies in 0 <= index < {n}, not {index}")
    bits, keys = permutation_bits(n), round_keys(seed, stream, epoch)
    while True:
        index = feistel(index, bits, keys)
        if index < n:
            return index


def permutation_bits(n: int) -> int:
    """Return the width of the power of two that `permute` works in for `n` items."""
    return max(_FEISTEL_LEAST_BITS, (n - 1).bit_length())


def feistel(value: int, bits: int, keys: tuple[int, ...]) -> int:
    """Return one turn of the permutation of 0 .. 2^bits - 1; arrays of uint64 may take `value`'s place."""
    width, other = bits // 2, bits - bits // 2
    left, right = value >> other, value & ((1 << other) - 1)
    for key in keys:
        # `left`, of `width` bits, takes up the mixed `right`; then the two change places, and so do their
        # widths.
        left, right = right, left ^ (_mixed(right, key) & ((1 << width) - 1))
        width, other = other, width
    return left << other | right


@lru_cache(maxsize=64)
def round_keys(seed: int, stream: int, epoch: int) -> tuple[int, ...]:
    """Return the 64-bit keys of the rounds of one permutation; an epoch lies in 0 <= epoch < 2^64."""
    key = key_of(seed, stream)
    words: list[int] = []
    for block in range(_FEISTEL_ROUNDS // 2):
        # uniform_below reaches this last counter word after 2^32 - 1 rejections: keys and draws never meet.
        w0, w1, w2, w3 = philox4x32((epoch & _MASK32, epoch >> 32, block, _MASK32), key)
        words += [w1 << 32 | w0, w3 << 32 | w2]
    return tuple(words)


def _mixed(half: int, key: int) -> int:
    mixed = ((half ^ key) * (_MULTIPLIER_0 << 32 | _MULTIPLIER_1)) & _MASK64
    mixed ^= mixed >> 32
    mixed = (mixed * (_WEYL_0 << 32 | _WEYL_1)) & _MASK64
    return mixed >> 32


def _three_words(counter: tuple[int, ...]) -> tuple[int, int, int]:
    if len(counter) > 3 or not all(0 <= word <= _MASK32 for word in counter):
        raise ValueError(f"a counter has at most three words in 0 <= word < 2^32, not {counter}")
    c0, c1, c2 = (*counter, 0, 0, 0)[:3]
    return c0, c1, c2
