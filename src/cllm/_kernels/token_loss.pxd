"""The loss of one token and the gradient of its logits (ops/cross_entropy.py), with the options that the op has."""

from libc.stdint cimport int64_t

from cllm._kernels.op cimport Op
from cllm._kernels.rows cimport scale_row
from cllm._kernels.simd cimport (
    f16, f16_add, f16_exp, f16_largest, f16_load, f16_load_n, f16_log, f16_max, f16_mul, f16_set1, f16_store, f16_store_n,
    f16_sub, f16_sum, f16_tanh,
)

cdef extern from "math.h" nogil:
    const float INFINITY

cdef enum:
    # number
    SMOOTHING = 0
    Z_LOSS = 1
    SOFTCAP = 2


cdef inline float token_loss(
    const Op *op, float *logits, int64_t v, int64_t target, float weight, bint gradient, float *slope,
) noexcept nogil:
    """weight * (log(sum(exp(logits - max))) + max - logits[target]); logits (V,) may become its gradient.

    With a cap the logits are capped first; z-loss and label smoothing add their terms (ops/cross_entropy.py).
    """
    cdef f16 largest, maximum, total = f16_set1(0.0), e
    cdef float smoothing = <float>op.number[SMOOTHING], z_loss = <float>op.number[Z_LOSS], mean = 0.0
    cdef float[16] lane
    cdef float loss, log_total
    cdef int64_t j
    if op.number[SOFTCAP] > 0.0:
        cap_logits(logits, slope if gradient else NULL, v, <float>op.number[SOFTCAP])
    if smoothing > 0.0:
        mean = mean_of(logits, v)
    for j in range(v, (v + 15) // 16 * 16):
        logits[j] = -INFINITY
    largest = f16_load(logits)
    for j in range(16, v, 16):
        largest = f16_max(largest, f16_load(logits + j))
    maximum = f16_set1(f16_largest(largest))
    loss = f16_largest(largest) - logits[target]
    if smoothing > 0.0:
        mean = smoothing * (logits[target] - mean)
    for j in range(0, v, 16):
        e = f16_exp(f16_sub(f16_load(logits + j), maximum))
        total = f16_add(total, e)
        if gradient:
            f16_store(logits + j, e)
    f16_store(lane, f16_log(f16_set1(f16_sum(total))))
    loss = lane[0] + loss
    log_total = lane[0] + f16_largest(largest)
    if smoothing > 0.0:
        loss = loss + mean
    if z_loss > 0.0:
        loss = loss + z_loss * log_total * log_total
    if gradient:
        scale_row(logits, v, <float>1.0 / f16_sum(total))
        if z_loss > 0.0:
            scale_row(logits, v, <float>1.0 + <float>2.0 * z_loss * log_total)
        if smoothing > 0.0:
            lower(logits, v, smoothing / <float>v)
        logits[target] -= <float>1.0 - smoothing
        scale_row(logits, v, weight)
        if op.number[SOFTCAP] > 0.0:
            for j in range(0, v, 16):
                f16_store(logits + j, f16_mul(f16_load(logits + j), f16_load(slope + j)))
    return loss * weight


cdef inline void cap_logits(float *logits, float *slope, int64_t v, float cap) noexcept nogil:
    """logits (V,) become cap * tanh(logits / cap), slope OUT or none its derivative.

    Of an infinity tanh would make a finite number, and nobody would see it: it becomes NaN (numerics rule 10).
    """
    cdef f16 c = f16_set1(cap), inverse = f16_set1(<float>1.0 / cap), x, t
    cdef int64_t j
    for j in range(0, v, 16):
        x = f16_load_n(logits + j, v - j)
        t = f16_add(f16_tanh(f16_mul(x, inverse)), f16_sub(x, x))
        f16_store_n(logits + j, f16_mul(c, t), v - j)
        if slope != NULL:
            f16_store(slope + j, f16_sub(f16_set1(1.0), f16_mul(t, t)))


cdef inline float mean_of(const float *x, int64_t n) noexcept nogil:
    """A 16-lane sum over n."""
    cdef f16 total = f16_set1(0.0)
    cdef int64_t j
    for j in range(0, n, 16):
        total = f16_add(total, f16_load_n(x + j, n - j))
    return f16_sum(total) / <float>n


cdef inline void lower(float *x, int64_t n, float by) noexcept nogil:
    cdef f16 b = f16_set1(by)
    cdef int64_t j
    for j in range(0, n, 16):
        f16_store(x + j, f16_sub(f16_load(x + j), b))
