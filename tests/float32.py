"""float32 as it is defined, for tests: the fused multiply-add and the sixteen-lane sum of numerics rules 2 and 3.

NumPy has no fused multiply-add. The product of two float32 is exact in float64; the sum is rounded to odd, which
keeps enough of what is lost for the rounding to float32 to be the only one (Boldo and Melquiond 2008).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def fma(a: Float32, b: Float32, c: Float32) -> Float32:
    """a * b + c with one rounding, element by element."""
    product, addend = a.astype(np.float64) * b, c.astype(np.float64)
    total = product + addend
    part = total - product
    lost = (product - (total - part)) + (addend - part)
    towards = np.nextafter(total, np.copysign(np.inf, lost))
    is_odd = total.view(np.int64) & 1 == 1
    return np.where((lost == 0.0) | is_odd, total, towards).astype(np.float32)


def chain(a: Float32, b: Float32, start: Float32 | float = 0.0, keep: NDArray[np.bool] | None = None) -> Float32:
    """(rows, columns) of start + a (rows, depth) times b (depth, columns): one chain an element, ascending depth.

    keep (rows, depth): the terms that enter; the others do not, not even as a product with 0.
    """
    total = np.broadcast_to(np.float32(start), (len(a), b.shape[1])).copy()
    for k in range(len(b)):
        longer = fma(a[:, k : k + 1], b[k], total)
        total = longer if keep is None else np.where(keep[:, k : k + 1], longer, total)
    return total


def bf16(x: Float32) -> Float32:
    """To the nearest bfloat16, ties to even; subnormals become zeros (numerics rule 12)."""
    exponent = np.frexp(x)[1]
    unit = np.ldexp(np.float64(1.0), exponent - 8)  # of the last of eight significant bits
    with np.errstate(over="ignore"):  # what is nearer to infinity than to the largest number
        return flushed((np.rint(x.astype(np.float64) / unit) * unit).astype(np.float32))


def flushed(x: Float32) -> Float32:
    """Subnormals as signed zeros."""
    return np.where(np.abs(x) < np.float32(2.0**-126), np.copysign(np.float32(0.0), x), x)


def pair_chain(
    a: Float32, b: Float32, start: Float32 | float = 0.0, keep: NDArray[np.bool] | None = None
) -> Float32:
    """As chain, in bfloat16: of each pair of terms first the odd one, then the even one; a missing one is +0.

    A pair of which neither is kept does not enter.
    """
    total = flushed(np.broadcast_to(np.float32(start), (len(a), b.shape[1])).copy())
    a, b = (np.pad(bf16(x), padding) for x, padding in ((a, ((0, 0), (0, len(b) % 2))), (b, ((0, len(b) % 2), (0, 0)))))
    kept = np.ones(a.shape, dtype=bool) if keep is None else np.pad(keep, ((0, 0), (0, keep.shape[1] % 2)))
    for k in range(0, len(b), 2):
        longer = total
        for term in (k + 1, k):
            factors = (np.where(kept[:, term : term + 1], x, np.float32(0.0)) for x in (a[:, term : term + 1], b[term]))
            longer = flushed(fma(*factors, longer))
        total = np.where(kept[:, k : k + 2].any(axis=1, keepdims=True), longer, total)
    return total


def column_chain(x: Float32, start: Float32 | float = 0.0) -> Float32:
    """start + the sum of x's rows, one after the other."""
    total = np.broadcast_to(np.float32(start), x.shape[1:]).copy()
    for row in x:
        total = total + row
    return total


def lanes(x: Float32) -> Float32:
    """(..., n) as (..., ceil(n / 16), 16), the tail padded with +0."""
    padding = [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % 16)]
    return np.pad(x, padding).reshape(*x.shape[:-1], -1, 16)


def tree(sixteen: Float32) -> Float32:
    """(..., 16) to one number: lane i + lane i + 8, then i + 4, i + 2, i + 1."""
    for half in (8, 4, 2, 1):
        sixteen = sixteen[..., :half] + sixteen[..., half : 2 * half]
    return sixteen[..., 0]


def sum16(x: Float32) -> Float32:
    """The sum over the last axis: sixteen chains of additions from +0, then the tree."""
    return dot16(x, np.ones_like(x))


def dot16(a: Float32, b: Float32) -> Float32:
    """The sum of a * b over the last axis: sixteen chains of fused multiply-adds, then the tree."""
    a, b = lanes(a), lanes(b)
    total = np.zeros((*a.shape[:-2], 16), dtype=np.float32)
    for i in range(a.shape[-2]):
        total = fma(a[..., i, :], b[..., i, :], total)
    return tree(total)
