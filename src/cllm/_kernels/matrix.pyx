"""Products of matrices outside of a Program, for optimizers: the tiles and chains of gemm.pxd."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uintptr_t

from cllm._kernels.gemm cimport n_panels_of, pack_panels
from cllm._kernels.gemm cimport product as tiles_of_product
from cllm._kernels.op cimport part_begin
from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave, work_begins, work_ends


def product(
    uintptr_t c, uintptr_t a, uintptr_t b, uintptr_t panels, int64_t m, int64_t n, int64_t k, bint transpose_b,
    int n_threads, uintptr_t busy,
):
    """c (m, n) OUT = a (m, k) times b (k, n), or (n, k) if transposed; panels: room for k times n in whole panels."""
    cdef int t
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        pack_part(<float *>panels, <const float *>b, n, k, transpose_b, t, n_threads, <double *>busy)
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        product_part(
            <float *>c, <const float *>a, <const float *>panels, m, n, k, t, n_threads, <double *>busy,
        )


cdef void pack_part(
    float *panels, const float *b, int64_t n, int64_t k, bint transpose_b, int part, int n_parts, double *busy,
) noexcept nogil:
    cdef unsigned long long saved = fpenv_enter()
    cdef double started = work_begins(busy)
    cdef int64_t n_panels = n_panels_of(n)
    pack_panels(
        panels, b, k, n, 1 if transpose_b else n, k if transpose_b else 1,
        part_begin(n_panels, 1, part, n_parts), part_begin(n_panels, 1, part + 1, n_parts),
    )
    work_ends(busy, part, started, 0.0)
    fpenv_leave(saved)


cdef void product_part(
    float *c, const float *a, const float *panels, int64_t m, int64_t n, int64_t k, int part, int n_parts,
    double *busy,
) noexcept nogil:
    cdef unsigned long long saved = fpenv_enter()
    cdef double started = work_begins(busy)
    tiles_of_product(m, n, k, c, n, a, k, 1, panels, NULL, 0, part, n_parts)
    work_ends(busy, part, started, 0.0)
    fpenv_leave(saved)
