"""The global gradient norm, which is also the finite check: one NaN or Inf anywhere makes it non-finite.

By numerics rule 3: per matrix column one float32 chain of squares over ascending rows, the columns' sums in one
float64 chain, parameters in name order.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave, fpenv_value, work_begins, work_ends
from cllm._kernels.simd cimport sqrt
from cllm._kernels.squares cimport Matrix, squares_of_part

MATRIX_SIZE = sizeof(Matrix)


def column_squares(uintptr_t gradient, uintptr_t matrices, int n_matrices, uintptr_t sums, int n_threads, uintptr_t busy):
    """sums (columns of all matrices,) float32 OUT: each column's chain of squares; gradient (n,) float32 IN."""
    cdef int t
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        squares_part(
            <const float *>gradient, <const Matrix *>matrices, n_matrices, <float *>sums, t, n_threads, <double *>busy,
        )


cdef void squares_part(
    const float *gradient, const Matrix *matrices, int n_matrices, float *sums, int part, int n_parts,
    double *busy,
) noexcept nogil:
    cdef uint64_t saved = fpenv_enter()
    cdef double started = work_begins(busy)
    squares_of_part(<float *>gradient, NULL, matrices, n_matrices, sums, part, n_parts)  # which it then only reads
    work_ends(busy, part, started, 0.0)
    fpenv_leave(saved)


def chain_norm(uintptr_t sums, int64_t n):
    """sqrt of the float64 chain over sums (n,) float32."""
    cdef const float *s = <const float *>sums
    cdef uint64_t saved = fpenv_enter()
    cdef double total = 0.0
    cdef int64_t i
    for i in range(n):
        total += s[i]
    total = fpenv_value(sqrt(total))
    fpenv_leave(saved)
    return total


def count_nonfinite(uintptr_t x, int64_t n):
    """How many of x (n,) float32 are NaN or infinite."""
    cdef const float *p = <const float *>x
    cdef uint64_t saved = fpenv_enter()
    cdef int64_t i, count = 0
    for i in range(n):
        if not (p[i] - p[i] == 0.0):
            count += 1
    fpenv_leave(saved)
    return count
