"""The estimates in NumPy, an array operation for each of the compiled code's: it must give the same bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def robust_sum(gradients: Float32, weights: Float64, out: Float32, trim: int) -> None:
    """Write (sum of weights) * trimmed mean over the shards of gradient / weight to `out`, element by element.

    gradients: (S, n) IN, each shard's gradient of the SUM of its token losses; weights: (S,) IN, each shard's sum of
    token weights; out: (n,) OUT. `trim` shards are left out at each end, 2 * trim < shards with a weight. A shard of
    weight 0 has no mean and is no vote; if there is no other, `out` is 0. An element that is NaN or infinite in any
    shard is NaN in `out`: it is a fault to be found, not an outlier to be sorted away.
    """
    # A gradient near the end of float32 may overflow: that infinity is marked below, and cllm stops the run.
    with np.errstate(all="ignore"):
        is_wrong = np.zeros(out.shape, dtype=np.bool_)
        means: list[Float32] = []  # of each shard with a weight (n,)
        for gradient, weight in zip(gradients, weights, strict=True):
            if weight == 0.0:
                is_wrong |= ~np.isfinite(gradient)
                continue
            # + 0 makes -0 to +0: the two compare as equal, so which comes first would depend on how they are sorted.
            mean = gradient / np.float32(weight) + np.float32(0.0)
            is_wrong |= ~np.isfinite(mean)
            means.append(mean)
        out[:] = _trimmed_mean(means, trim) * np.float32(_total(weights)) if means else np.float32(0.0)
        out[is_wrong] = np.nan


def _trimmed_mean(means: list[Float32], trim: int) -> Float32:
    """The mean of what is left of `means`, from the smallest up. Uses up `means`."""
    sort_rows(means)
    first, *others = means[trim : len(means) - trim]
    for row in others:
        first += row
    first /= np.float32(1 + len(others))
    return first


def sort_rows(rows: list[Float32]) -> None:
    """Sort S rows (n,) in place, element by element, so that rows[0] has the smallest of each."""
    spare = np.empty_like(rows[0])
    for low, high in network(len(rows)):
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]


def network(n: int) -> Iterator[tuple[int, int]]:
    """Yield the comparisons (low, high) that sort n values: Batcher's merge exchange.

    Knuth, The Art of Computer Programming, volume 3, section 5.2.2, algorithm M; 5 comparisons for 4 values, 19 for 8.
    """
    top = 1 << (n - 1).bit_length() >> 1
    p = top
    while p:
        q, r, distance = top, 0, p
        while True:
            yield from ((i, i + distance) for i in range(n - distance) if i & p == r)
            if q == p:
                break
            distance, q, r = q - p, q // 2, p
        p //= 2


def _total(weights: Float64) -> float:
    total = 0.0
    for weight in weights:
        total += float(weight)
    return total
