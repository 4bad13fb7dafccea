"""What is done to a row of scratch, which has room for whole registers."""

from libc.stdint cimport int64_t

from cllm._kernels.simd cimport f16, f16_load, f16_mul, f16_set1, f16_store


cdef inline void scale_row(float *row, int64_t n, float factor) noexcept nogil:
    """row (n,) *= factor."""
    cdef f16 f = f16_set1(factor)
    cdef int64_t j
    for j in range(0, n, 16):
        f16_store(row + j, f16_mul(f16_load(row + j), f))
