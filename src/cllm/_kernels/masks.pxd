"""Dropout's masks: which element stays is a function of seed, batch, sample, op and element (numerics rule 8)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cllm._kernels.op cimport Op, Shard


cdef extern from "philox.h" nogil:
    enum: PHILOX_BLOCKS, STREAM_INIT, STREAM_DROPOUT
    void philox_blocks(uint32_t *out, uint64_t first, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t key0, uint32_t key1)


cdef inline void drop(
    const Op *op, const Shard *shard, int64_t sample, int64_t first, int64_t n, float *y, const float *x,
    double probability, bint add,
) noexcept nogil:
    """y (n,) OUT or ADD = x (n,) IN / (1 - probability) where the element stays, else +0.

    The n elements are number first, first + 1, ... of `sample` (a sequence of the batch) in this op. A dropped
    element is selected away, never multiplied by 0, for 0 * inf would be a NaN.
    """
    cdef uint32_t[4 * PHILOX_BLOCKS] random
    cdef uint64_t threshold = <uint64_t>(probability * 4294967296.0)
    cdef float scale = <float>(1.0 / (1.0 - probability)), kept
    cdef int64_t i = 0, e, end = first + n, block = first // 4
    while i < n:
        philox_blocks(
            random, <uint64_t>block, <uint32_t>op.id, <uint32_t>sample, <uint32_t>shard.batch,
            <uint32_t>shard.seed, <uint32_t>((<uint64_t>shard.seed) >> 32) ^ STREAM_DROPOUT,
        )
        for e in range(first + i, min(end, 4 * (block + PHILOX_BLOCKS))):
            kept = x[e - first] * scale if random[e - 4 * block] >= threshold else <float>0.0
            y[e - first] = y[e - first] + kept if add else kept
        i = 4 * (block + PHILOX_BLOCKS) - first
        block += PHILOX_BLOCKS
