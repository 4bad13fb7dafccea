"""Sums that several kernels share: over tokens (numerics rule 2), and of gradients that meet in one buffer."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cllm._kernels.op cimport part_begin
from cllm._kernels.simd cimport f16, f16_add, f16_fma, f16_load_n, f16_mul, f16_set1, f16_store_n, f16_sub


cdef inline void column_sums(
    int64_t rows, int64_t n, float *sums, const float *dy, int64_t dy_row, bint add, int64_t part, int64_t n_parts,
) noexcept nogil:
    """sums (n,) OUT or ADD: for each column of dy (rows, n), row stride dy_row, a chain of additions."""
    cdef int64_t column, columns, row, end = part_begin(n, 16, part + 1, n_parts)
    cdef f16 total
    for column in range(part_begin(n, 16, part, n_parts), end, 16):
        columns = min(end - column, 16)
        total = f16_load_n(sums + column, columns) if add else f16_set1(0.0)
        for row in range(rows):
            total = f16_add(total, f16_load_n(dy + row * dy_row + column, columns))
        f16_store_n(sums + column, total, columns)


cdef inline void scale_gradient(
    int64_t rows, int64_t c, float *dweight, const float *dy, const float *x, const float *mean, const float *rstd,
    bint add, int64_t part, int64_t n_parts,
) noexcept nogil:
    """dweight (C,) OUT or ADD: one chain a column over ascending rows of dy * xhat.

    xhat = (x - mean) * rstd, mean (rows,) being 0 where it is NULL.
    """
    cdef int64_t column, n, row, end = part_begin(c, 16, part + 1, n_parts)
    cdef f16 total, xhat
    for column in range(part_begin(c, 16, part, n_parts), end, 16):
        n = min(end - column, 16)
        total = f16_load_n(dweight + column, n) if add else f16_set1(0.0)
        for row in range(rows):
            xhat = f16_load_n(x + row * c + column, n)
            if mean != NULL:
                xhat = f16_sub(xhat, f16_set1(mean[row]))
            xhat = f16_mul(xhat, f16_set1(rstd[row]))
            total = f16_fma(f16_load_n(dy + row * c + column, n), xhat, total)
        f16_store_n(dweight + column, total, n)


cdef inline void add_to(float *sums, const float *x, int64_t n) noexcept nogil:
    """sums (n,) ADD = x (n,)."""
    cdef int64_t i
    for i in range(0, n, 16):
        f16_store_n(sums + i, f16_add(f16_load_n(sums + i, n - i), f16_load_n(x + i, n - i)), n - i)


cdef inline int64_t level_before(int64_t shard) noexcept nogil:
    """How many sums of a tree wait before a shard comes, one for each bit that is set in its number: its own is next."""
    cdef int64_t level = 0
    while shard:
        level += shard & 1
        shard >>= 1
    return level


cdef inline void add_levels(float *sums, int64_t step, int64_t n, int64_t shard) noexcept nogil:
    """Levels of a tree, n elements `step` apart: what is complete with this shard, which has its level, is added."""
    cdef float *level = sums + level_before(shard) * step
    while shard & 1:
        add_to(level - step, level, n)
        level -= step
        shard >>= 1


cdef inline void column_sums_together(
    int64_t rows, int64_t n, float *sums, const float *dy, int64_t dy_row, int64_t part, int64_t n_parts,
    int64_t n_together, int64_t step,
) noexcept nogil:
    """sums (n,) OUT: column_sums of each shard, added as a tree; their dy lie `step` apart."""
    cdef int64_t column, columns, s, end = part_begin(n, 16, part + 1, n_parts)
    cdef float[112] levels  # 16 for each of MOST_LEVELS
    for column in range(part_begin(n, 16, part, n_parts), end, 16):
        columns = min(end - column, 16)
        for s in range(n_together):
            column_sums(rows, columns, levels + 16 * level_before(s), dy + s * step + column, dy_row, False, 0, 1)
            add_levels(levels, 16, columns, s)
        memcpy(sums + column, levels, columns * sizeof(float))


cdef inline void pass_on(float *dx, const float *dy, int64_t n, bint add) noexcept nogil:
    """dx (n,) OUT or ADD = dy (n,); nothing to do where the plan gave them one memory."""
    if add:
        add_to(dx, dy, n)
    elif dx != dy:
        memcpy(dx, dy, n * sizeof(float))
