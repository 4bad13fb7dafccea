"""Column sums of squares of a matrix (numerics rule 3), alone or in the pass that scales it."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from cllm._kernels.op cimport place_begin
from cllm._kernels.simd cimport f16, f16_fma, f16_load_n, f16_mul, f16_store_n

cdef enum:
    ROWS = 4      # at a time: their sum is loaded and stored once
    WIDTH = 1024  # columns whose sums, and those rows of them, lie in the first-level cache

cdef struct Matrix:
    int64_t offset               # of its first element in the flat array
    int64_t rows
    int64_t columns
    int64_t sums                 # of its first column sum in scratch


cdef inline int64_t end_of(const Matrix *matrices, int n_matrices) noexcept nogil:
    """Where the last of them ends: the size of the array that all parts share."""
    cdef int64_t end = 0
    cdef int m
    for m in range(n_matrices):
        end = max(end, matrices[m].offset + matrices[m].rows * matrices[m].columns)
    return end


cdef inline void squares_of_part(
    float *array, const f16 *scale, const Matrix *matrices, int n_matrices, float *sums, int part, int n_parts,
) noexcept nogil:
    """sums OUT of one part's columns of every matrix, of what they are after array *= scale, where scale is not NULL."""
    cdef const Matrix *matrix
    cdef int64_t whole = end_of(matrices, n_matrices), size
    cdef int m
    for m in range(n_matrices):
        matrix = &matrices[m]
        size = matrix.rows * matrix.columns
        column_squares_of(
            array + matrix.offset, scale, matrix, sums + matrix.sums,
            place_begin(matrix.columns, 64, matrix.offset, size, whole, part, n_parts),
            place_begin(matrix.columns, 64, matrix.offset, size, whole, part + 1, n_parts),
        )


cdef inline void column_squares_of(
    float *g, const f16 *scale, const Matrix *matrix, float *sums, int64_t begin, int64_t end,
) noexcept nogil:
    """Of columns begin:end, each one chain over ascending rows. Memory is read along its rows, a few of them at a time."""
    cdef int64_t first = begin, last, row
    while first < end:
        last = min(end, first + WIDTH)
        memset(sums + first, 0, (last - first) * sizeof(float))
        row = 0
        while row + ROWS <= matrix.rows:
            add_squares(g + row * matrix.columns, scale, ROWS, matrix.columns, sums, first, last)
            row += ROWS
        for row in range(row, matrix.rows):
            add_squares(g + row * matrix.columns, scale, 1, matrix.columns, sums, first, last)
        first = last


cdef inline void add_squares(
    float *g, const f16 *scale, int64_t rows, int64_t row_step, float *sums, int64_t first, int64_t last,
) noexcept nogil:
    """sums first:last ADD the squares of so many rows."""
    cdef int64_t column, row, n
    cdef float *place
    cdef f16 total, x
    for column in range(first, last, 16):
        n = last - column
        total = f16_load_n(sums + column, n)
        for row in range(rows):
            place = g + row * row_step + column
            x = f16_load_n(place, n)
            if scale != NULL:
                x = f16_mul(x, scale[0])
                f16_store_n(place, x, n)
            total = f16_fma(x, x, total)
        f16_store_n(sums + column, total, n)
