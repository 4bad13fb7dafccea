"""The global gradient norm, which is also the finite check: one NaN or Inf anywhere makes it non-finite.

By numerics rule 3: per matrix column one float32 chain of squares over ascending rows, the columns' sums in one
float64 chain, parameters in name order.
"""

from cython.parallel cimport prange
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t

from cllm._kernels.abi cimport (
    CLLM_ABI_MAJOR, CLLM_ABI_MINOR, CLLM_CHECK_IF_NONFINITE, CLLM_OK, cllm_check,
)
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


# --- the check `finite`, by the kernel ABI ----------------------------------------------------------------------

cdef enum:
    # What a piece leaves, and what all leave in the end.
    COUNT = 0
    FIRST = 1
    N_NUMBERS = 2


cdef int32_t scan_piece(void *state, int64_t lo, int64_t hi, const float *gradient, double *partial) noexcept nogil:
    """How many of gradient (hi - lo,) are NaN or infinite, and the place of the first, -1 if none is."""
    cdef int64_t i
    partial[COUNT], partial[FIRST] = 0.0, -1.0
    for i in range(hi - lo):
        if not (gradient[i] - gradient[i] == 0.0):
            if partial[COUNT] == 0.0:
                partial[FIRST] = <double>(lo + i)
            partial[COUNT] += 1.0
    return CLLM_OK


cdef int32_t sum_pieces(void *state, int64_t n_chunks, const double *partials, double *found) noexcept nogil:
    """The same of all pieces together."""
    cdef const double *piece
    cdef int64_t i
    found[COUNT], found[FIRST] = 0.0, -1.0
    for i in range(n_chunks):
        piece = partials + i * N_NUMBERS
        if found[COUNT] == 0.0:
            found[FIRST] = piece[FIRST]
        found[COUNT] += piece[COUNT]
    return CLLM_OK


cdef cllm_check FINITE  # all else of it is zero
FINITE.struct_size, FINITE.abi_major, FINITE.abi_minor = sizeof(cllm_check), CLLM_ABI_MAJOR, CLLM_ABI_MINOR
FINITE.flags = CLLM_CHECK_IF_NONFINITE
FINITE.n_partial, FINITE.n_found = N_NUMBERS, N_NUMBERS
FINITE.scan, FINITE.finish = scan_piece, sum_pieces


def finite_check():
    """A capsule of the kernel ABI: how many elements are not finite, and which is the first."""
    return PyCapsule_New(&FINITE, b"cllm.check", NULL)
