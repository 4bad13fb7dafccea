"""Initial values: normal draws as a function of (seed, parameter, element), in any order and on any machine."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t

from cllm._kernels.masks cimport PHILOX_BLOCKS, STREAM_INIT, philox_blocks
from cllm._kernels.op cimport part_begin
from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave
from cllm._kernels.simd cimport sqrt

cdef extern from "mathd.h" nogil:
    double d_log(double x)
    double d_cos(double x)
    double d_sin(double x)

cdef double TWO_PI = 6.283185307179586


def normal(uintptr_t out, int64_t n, double deviation, uint64_t seed, uint64_t name, int n_threads):
    """out (n,) float32 OUT: draws of N(0, deviation^2) by Box and Muller (1958), rounded from float64.

    name: 64 bits that stand for the parameter, so that two of them never share draws.
    """
    cdef int t
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        normal_part(
            <float *>out, deviation, seed, name, part_begin(n, 4 * PHILOX_BLOCKS, t, n_threads),
            part_begin(n, 4 * PHILOX_BLOCKS, t + 1, n_threads),
        )


cdef void normal_part(float *out, double deviation, uint64_t seed, uint64_t name, int64_t begin, int64_t end) noexcept nogil:
    cdef unsigned long long saved = fpenv_enter()
    cdef uint32_t[4 * PHILOX_BLOCKS] random
    cdef int64_t i = begin, j
    while i < end:
        philox_blocks(
            random, <uint32_t>(i // 4), <uint32_t>((i // 4) >> 32), <uint32_t>name, <uint32_t>(name >> 32),
            <uint32_t>seed, <uint32_t>(seed >> 32) ^ STREAM_INIT,
        )
        for j in range(0, min(end - i, 4 * PHILOX_BLOCKS), 2):
            normal_pair(out + i + j, min(end - i - j, 2), deviation, random[j], random[j + 1])
        i += 4 * PHILOX_BLOCKS
    fpenv_leave(saved)


cdef inline void normal_pair(float *out, int64_t n, double deviation, uint32_t a, uint32_t b) noexcept nogil:
    """Radius from a in (0, 1], angle from b in [0, 2 pi)."""
    cdef double radius = sqrt(-2.0 * d_log((a + 1.0) * 2.3283064365386963e-10))
    cdef double angle = TWO_PI * (b * 2.3283064365386963e-10)
    out[0] = <float>(deviation * (radius * d_cos(angle)))
    if n > 1:
        out[1] = <float>(deviation * (radius * d_sin(angle)))
