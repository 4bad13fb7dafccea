"""Reducers' arithmetic: what the tree adds, what an ordered sum adds, and the one scaling at the end.

Every door sets the floating-point environment (numerics rule 7) in the calling thread too, and rounds scalars to float32
only behind it.
"""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from cpython.pycapsule cimport PyCapsule_New

from cllm._kernels.abi cimport CLLM_ABI_MAJOR, CLLM_ABI_MINOR, CLLM_OK, cllm_reducer
from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave, fpenv_value, work_begins, work_ends
from cllm._kernels.op cimport part_begin
from cllm._kernels.simd cimport f16, f16_load_n, f16_mul, f16_set1, f16_store_n
from cllm._kernels.sums cimport add_to


cdef int32_t merge_sum(void *state, int64_t lo, int64_t hi, float *left, const float *right) noexcept nogil:
    """left (hi - lo,) ADD = right (hi - lo,)."""
    add_to(left, right, hi - lo)
    return CLLM_OK


cdef cllm_reducer SUM  # all else of it is zero
SUM.struct_size, SUM.abi_major, SUM.abi_minor = sizeof(cllm_reducer), CLLM_ABI_MAJOR, CLLM_ABI_MINOR
SUM.merge = merge_sum


def sum_reducer():
    """A capsule of the kernel ABI: the fold that adds."""
    return PyCapsule_New(&SUM, b"cllm.reducer", NULL)


SUM_ADDRESS = <uintptr_t>&SUM  # by which the engine knows it


def add(uintptr_t left, uintptr_t right, int64_t n):
    """left (n,) ADD = right (n,), float32 addresses."""
    cdef uint64_t saved
    with nogil:
        saved = fpenv_enter()
        add_to(<float *>left, <const float *>right, n)
        fpenv_leave(saved)


def ordered_sum(uintptr_t out, uintptr_t gradients, int64_t n_shards, int64_t row, int64_t n):
    """out (n,) OUT: ((g0 + g1) + g2) + ... over the shards; gradients (S, n), row stride `row`, float32."""
    cdef const float *g = <const float *>gradients
    cdef float *total = <float *>out
    cdef uint64_t saved
    cdef int64_t s
    with nogil:
        saved = fpenv_enter()
        memcpy(total, g, n * sizeof(float))
        for s in range(1, n_shards):
            add_to(total, g + s * row, n)
        fpenv_leave(saved)


def scale(uintptr_t x, int64_t n, double factor, int n_threads, uintptr_t busy):
    """x (n,) float32 is multiplied by factor, which is rounded to float32 first."""
    cdef float *p = <float *>x
    cdef int t
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        scale_part(p, factor, n, t, n_threads, <double *>busy)


cdef void scale_part(float *p, double factor, int64_t n, int part, int n_parts, double *busy) noexcept nogil:
    cdef int64_t i, begin = part_begin(n, 16, part, n_parts), end = part_begin(n, 16, part + 1, n_parts)
    cdef uint64_t saved = fpenv_enter()
    cdef double started = work_begins(busy)
    cdef f16 rounded = f16_set1(<float>fpenv_value(factor))
    for i in range(begin, end, 16):
        f16_store_n(p + i, f16_mul(f16_load_n(p + i, end - i), rounded), end - i)
    work_ends(busy, part, started, 0.0)
    fpenv_leave(saved)
