"""The kernel of the op `layernorm`: each token's channels to mean 0 and variance 1, then scale and shift."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.sums cimport column_sums, scale_gradient
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, part_begin, value_of
from cllm._kernels.simd cimport (
    f16, f16_add, f16_fma, f16_load_n, f16_mul, f16_set1, f16_store_n, f16_sub, f16_sum, sqrtf,
)

cdef enum:
    Y = 0
    MEAN = 1
    RSTD = 2
    X = 3
    WEIGHT = 4
    BIAS = 5
    # size
    C = 0
    # number
    EPSILON = 0


cdef int layernorm_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (rows, C), mean (rows,), rstd (rows,) OUT; x (rows, C), weight (C,), bias (C,) or none IN."""
    cdef int64_t c = op.size[C], rows = shard.n_sequences * shard.time - shard.first, row
    cdef const float *x = value_of(op, shard, X)
    cdef float *y = value_of(op, shard, Y)
    for row in range(shard.first + part_begin(rows, 1, part, n_parts),
                     shard.first + part_begin(rows, 1, part + 1, n_parts)):
        normalise_row(
            c, y + row * c, value_of(op, shard, MEAN) + row, value_of(op, shard, RSTD) + row,
            x + row * c, value_of(op, shard, WEIGHT), value_of(op, shard, BIAS), <float>op.number[EPSILON],
        )
    return DONE


cdef inline f16 minus_mean(const float *x, int64_t i, int64_t n, f16 mean) noexcept nogil:
    """Up to 16 deviations; where the row has no more channels they are +0 and not -mean."""
    cdef float rest[16]
    cdef f16 deviation = f16_sub(f16_load_n(x + i, n), mean)
    if n >= 16:
        return deviation
    f16_store_n(rest, deviation, n)
    return f16_load_n(rest, n)


cdef void normalise_row(
    int64_t c, float *y, float *mean, float *rstd, const float *x, const float *weight, const float *bias,
    float epsilon,
) noexcept nogil:
    """Two passes: the mean, then the variance of what is left; both are 16-lane sums."""
    cdef f16 total = f16_set1(0.0), deviation, m, r, shift
    cdef int64_t i
    for i in range(0, c, 16):
        total = f16_add(total, f16_load_n(x + i, c - i))
    mean[0] = f16_sum(total) / <float>c
    m = f16_set1(mean[0])
    total = f16_set1(0.0)
    for i in range(0, c, 16):
        deviation = minus_mean(x, i, c - i, m)
        total = f16_fma(deviation, deviation, total)
    rstd[0] = <float>1.0 / sqrtf(f16_sum(total) / <float>c + epsilon)
    r = f16_set1(rstd[0])
    for i in range(0, c, 16):
        deviation = f16_mul(f16_sub(f16_load_n(x + i, c - i), m), r)
        shift = f16_load_n(bias + i, c - i) if bias != NULL else f16_set1(0.0)
        f16_store_n(y + i, f16_fma(deviation, f16_load_n(weight + i, c - i), shift), c - i)


cdef int layernorm_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dx (rows, C), dweight (C,), dbias (C,) OUT or ADD; dy, x (rows, C), mean, rstd (rows,), weight (C,) IN."""
    cdef int64_t c = op.size[C], rows = shard.n_sequences * shard.time, row
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef const float *x = value_of(op, shard, X)
    cdef const float *mean = value_of(op, shard, MEAN)
    cdef const float *rstd = value_of(op, shard, RSTD)
    cdef float *dx = gradient_of(op, shard, X)
    if dx != NULL:
        for row in range(part_begin(rows, 1, part, n_parts), part_begin(rows, 1, part + 1, n_parts)):
            input_gradient_row(
                c, dx + row * c, dy + row * c, x + row * c, mean[row], rstd[row], value_of(op, shard, WEIGHT),
                adds_to(op, X),
            )
    if gradient_of(op, shard, WEIGHT) != NULL:
        scale_gradient(
            rows, c, gradient_of(op, shard, WEIGHT), dy, x, mean, rstd, adds_to(op, WEIGHT), part, n_parts,
        )
    if gradient_of(op, shard, BIAS) != NULL:
        column_sums(rows, c, gradient_of(op, shard, BIAS), dy, c, adds_to(op, BIAS), part, n_parts)
    return DONE


cdef void input_gradient_row(
    int64_t c, float *dx, const float *dy, const float *x, float mean, float rstd, const float *weight, bint add,
) noexcept nogil:
    """dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) with g = dy * weight and xhat = (x - mean) * rstd."""
    cdef f16 m = f16_set1(mean), r = f16_set1(rstd), g, xhat, d
    cdef f16 sum_g = f16_set1(0.0), sum_gx = f16_set1(0.0), mean_g, mean_gx
    cdef int64_t i
    for i in range(0, c, 16):
        g = f16_mul(f16_load_n(dy + i, c - i), f16_load_n(weight + i, c - i))
        xhat = f16_mul(minus_mean(x, i, c - i, m), r)
        sum_g = f16_add(sum_g, g)
        sum_gx = f16_fma(g, xhat, sum_gx)
    mean_g = f16_set1(f16_sum(sum_g) / <float>c)
    mean_gx = f16_set1(f16_sum(sum_gx) / <float>c)
    for i in range(0, c, 16):
        g = f16_mul(f16_load_n(dy + i, c - i), f16_load_n(weight + i, c - i))
        xhat = f16_mul(f16_sub(f16_load_n(x + i, c - i), m), r)
        d = f16_mul(f16_sub(f16_sub(g, mean_g), f16_mul(xhat, mean_gx)), r)
        if add:
            d = f16_add(f16_load_n(dx + i, c - i), d)
        f16_store_n(dx + i, d, c - i)


KERNELS = {
    "layernorm_forward": kernel_capsule(layernorm_forward),
    "layernorm_backward": kernel_capsule(layernorm_backward),
}
