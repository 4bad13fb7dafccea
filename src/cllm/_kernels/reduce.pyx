"""Reducers' arithmetic: what the tree adds, what an ordered sum adds, and the one scaling at the end."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uintptr_t

from cpython.pycapsule cimport PyCapsule_New

from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave
from cllm._kernels.op cimport part_begin
from cllm._kernels.reducer cimport Reducer
from cllm._kernels.simd cimport f16_load_n, f16_mul, f16_set1, f16_store_n
from cllm._kernels.sums cimport add_to


cdef int merge_sum(void *state, float *left, const float *right, int64_t n) noexcept nogil:
    """left (n,) ADD = right (n,)."""
    add_to(left, right, n)
    return 0


cdef Reducer SUM
SUM.merge = merge_sum
SUM.state = NULL


def sum_reducer():
    """A capsule by which the executor folds by addition inside the parallel region."""
    return PyCapsule_New(&SUM, b"cllm.reducer", NULL)


def add(uintptr_t left, uintptr_t right, int64_t n):
    """left (n,) ADD = right (n,), float32 addresses."""
    add_to(<float *>left, <const float *>right, n)


def ordered_sum(uintptr_t out, uintptr_t gradients, int64_t n_shards, int64_t row, int64_t n):
    """out (n,) OUT: ((g0 + g1) + g2) + ... over the shards; gradients (S, n), row stride `row`, float32."""
    cdef const float *g = <const float *>gradients
    cdef float *total = <float *>out
    cdef int64_t s, i
    for i in range(n):
        total[i] = g[i]
    for s in range(1, n_shards):
        add_to(total, g + s * row, n)


def scale(uintptr_t x, int64_t n, float factor, int n_threads):
    """x (n,) is multiplied by factor, float32."""
    cdef float *p = <float *>x
    cdef int t
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        scale_part(p, factor, part_begin(n, 16, t, n_threads), part_begin(n, 16, t + 1, n_threads))


cdef void scale_part(float *p, float factor, int64_t begin, int64_t end) noexcept nogil:
    cdef int64_t i
    cdef unsigned long long saved = fpenv_enter()
    for i in range(begin, end, 16):
        f16_store_n(p + i, f16_mul(f16_load_n(p + i, end - i), f16_set1(factor)), end - i)
    fpenv_leave(saved)
