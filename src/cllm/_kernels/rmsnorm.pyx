"""The kernel of the op `rmsnorm`: each group of a token's channels to root mean square 1, then scale."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, part_begin, value_of
from cllm._kernels.sums cimport scale_gradient
from cllm._kernels.simd cimport (
    f16, f16_add, f16_fma, f16_load_n, f16_mul, f16_set1, f16_store_n, f16_sub, f16_sum, sqrtf,
)

cdef enum:
    Y = 0
    RSTD = 1
    X = 2
    WEIGHT = 3
    # size
    C = 0
    GROUPS = 1
    # number
    EPSILON = 0


cdef int rmsnorm_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (rows, groups, C), rstd (rows, groups) OUT; x (rows, groups, C), weight (C,) IN."""
    cdef int64_t c = op.size[C], first = shard.first * op.size[GROUPS], row
    cdef int64_t rows = shard.n_sequences * shard.time * op.size[GROUPS] - first
    cdef const float *x = value_of(op, shard, X)
    cdef float *y = value_of(op, shard, Y)
    for row in range(first + part_begin(rows, 1, part, n_parts), first + part_begin(rows, 1, part + 1, n_parts)):
        normalise_row(
            c, y + row * c, value_of(op, shard, RSTD) + row, x + row * c, value_of(op, shard, WEIGHT),
            <float>op.number[EPSILON],
        )
    return DONE


cdef void normalise_row(
    int64_t c, float *y, float *rstd, const float *x, const float *weight, float epsilon,
) noexcept nogil:
    """The mean square is a 16-lane sum. Where it overflows 1 / sqrt would be 0, and nobody would see it."""
    cdef f16 total = f16_set1(0.0), r, value
    cdef float square
    cdef int64_t i
    for i in range(0, c, 16):
        value = f16_load_n(x + i, c - i)
        total = f16_fma(value, value, total)
    square = f16_sum(total) / <float>c
    rstd[0] = <float>1.0 / sqrtf(square + epsilon) + (square - square)
    r = f16_set1(rstd[0])
    for i in range(0, c, 16):
        value = f16_mul(f16_load_n(x + i, c - i), r)
        f16_store_n(y + i, f16_mul(value, f16_load_n(weight + i, c - i)), c - i)


cdef int rmsnorm_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dx (rows, groups, C), dweight (C,) OUT or ADD; dy, x (rows, groups, C), rstd (rows, groups), weight (C,) IN."""
    cdef int64_t c = op.size[C], rows = shard.n_sequences * shard.time * op.size[GROUPS], row
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef const float *x = value_of(op, shard, X)
    cdef const float *rstd = value_of(op, shard, RSTD)
    cdef float *dx = gradient_of(op, shard, X)
    if dx != NULL:
        for row in range(part_begin(rows, 1, part, n_parts), part_begin(rows, 1, part + 1, n_parts)):
            input_gradient_row(
                c, dx + row * c, dy + row * c, x + row * c, rstd[row], value_of(op, shard, WEIGHT), adds_to(op, X),
            )
    if gradient_of(op, shard, WEIGHT) != NULL:
        scale_gradient(rows, c, gradient_of(op, shard, WEIGHT), dy, x, NULL, rstd, adds_to(op, WEIGHT), part, n_parts)
    return DONE


cdef void input_gradient_row(
    int64_t c, float *dx, const float *dy, const float *x, float rstd, const float *weight, bint add,
) noexcept nogil:
    """dx = rstd * (g - xhat * mean(g * xhat)) with g = dy * weight and xhat = x * rstd."""
    cdef f16 r = f16_set1(rstd), g, xhat, d, sum_gx = f16_set1(0.0), mean_gx
    cdef int64_t i
    for i in range(0, c, 16):
        g = f16_mul(f16_load_n(dy + i, c - i), f16_load_n(weight + i, c - i))
        sum_gx = f16_fma(g, f16_mul(f16_load_n(x + i, c - i), r), sum_gx)
    mean_gx = f16_set1(f16_sum(sum_gx) / <float>c)
    for i in range(0, c, 16):
        g = f16_mul(f16_load_n(dy + i, c - i), f16_load_n(weight + i, c - i))
        xhat = f16_mul(f16_load_n(x + i, c - i), r)
        d = f16_mul(f16_sub(g, f16_mul(xhat, mean_gx)), r)
        if add:
            d = f16_add(f16_load_n(dx + i, c - i), d)
        f16_store_n(dx + i, d, c - i)


KERNELS = {
    "rmsnorm_forward": kernel_capsule(rmsnorm_forward),
    "rmsnorm_backward": kernel_capsule(rmsnorm_backward),
}
