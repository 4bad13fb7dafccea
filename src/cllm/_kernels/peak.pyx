"""What the processor and its memory can do at the most, measured: the roof that a profile is held against."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uintptr_t

from cllm._kernels.op cimport part_begin

cdef extern from "peak.h" nogil:
    enum: CHAINS
    enum: LANES
    void fma_rounds(long n)
    void stream_add(float *a, const float *b, const float *c, long n)

# Multiplications and additions in one round of one thread.
FLOPS_PER_ROUND = 2 * CHAINS * LANES


def multiply_add(int64_t n, int n_threads):
    """n rounds of fused multiply-adds on each thread, from registers to registers; FLOPS_PER_ROUND each."""
    cdef int t
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        fma_rounds(n)


def add_arrays(uintptr_t a, uintptr_t b, uintptr_t c, int64_t n, int n_threads):
    """a (n,) OUT = b (n,) IN + c (n,) IN, float32, a contiguous part on each thread."""
    cdef int t
    cdef int64_t begin
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        begin = part_begin(n, 16, t, n_threads)
        stream_add(
            <float *>a + begin, <const float *>b + begin, <const float *>c + begin,
            part_begin(n, 16, t + 1, n_threads) - begin,
        )
