"""The kernels of the ops `linear` and `linear_transposed`, in float32 and in bfloat16 (numerics rule 12).

y = x · weight + bias, and its three gradients. Of products in bfloat16 the operands are rounded; all that is stored, and
the sum of a bias's gradient, is float32. Those in float32 can compute several shards at once: each panel is then read
once for all, and a weight's gradient is written once, with their tree inside (docs/decisions/0008-lockstep.md).
"""

from libc.stdint cimport int64_t

from cllm._kernels.bf16 cimport Bf16, bf16_emulated, bf16_native, pair
from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.gemm cimport Together, n_pieces_of, product, weight_gradient, weight_gradient_together
from cllm._kernels.gemm_bf16 cimport product_bf16, weight_gradient_bf16
from cllm._kernels.op cimport DONE, STOPPED, Op, Shard, adds_to, gradient_of, packed_of, transposed_of, value_of
from cllm._kernels.sums cimport column_sums, column_sums_together

cdef enum:
    Y = 0
    X = 1
    WEIGHT = 2
    BIAS = 3
    # size
    K = 0
    N = 1

cdef const Bf16 *native_or_not = &bf16_emulated


def use_native(bint native):
    """Whether to multiply bfloat16 by the processor's own instruction, which changes no bit; returns whether it is built."""
    global native_or_not
    native_or_not = &bf16_native if native else &bf16_emulated
    return &bf16_native != &bf16_emulated


cdef inline int forward(
    const Op *op, const Shard *shard, int64_t part, int64_t n_parts, const Bf16 *bf16,
) noexcept nogil:
    """y (rows, N) OUT; x (rows, K), weight (K, N) in panels, bias (N,) or none IN. bf16 NULL: float32."""
    cdef int64_t k = op.size[K], n = op.size[N], first = shard.first
    cdef int64_t rows = shard.n_sequences * shard.time - first, piece
    cdef int64_t n_pieces = n_pieces_of(rows * shard.n_together, n, k, n_parts)
    for piece in range(n_pieces):
        if piece > 0 and shard.interrupted(shard):
            return STOPPED
        rows_product(
            bf16, shard, rows, n, k, value_of(op, shard, Y) + first * n, value_of(op, shard, X) + first * k,
            packed_of(op, shard, WEIGHT), value_of(op, shard, BIAS), 0, part * n_pieces + piece, n_parts * n_pieces,
        )
    return DONE


cdef inline int backward(
    const Op *op, const Shard *shard, int64_t part, int64_t n_parts, const Bf16 *bf16, bint transposed,
) noexcept nogil:
    """dx (rows, K), dweight (K, N) or transposed, dbias (N,) OUT or ADD; dy (rows, N), x (rows, K), weight IN."""
    cdef int64_t k = op.size[K], n = op.size[N], rows = shard.n_sequences * shard.time
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef const float *x = value_of(op, shard, X)
    cdef float *dx = gradient_of(op, shard, X)
    cdef float *dweight = gradient_of(op, shard, WEIGHT)
    cdef int64_t n_pieces = n_pieces_of(rows * shard.n_together, n, 2 * k, n_parts), piece
    for piece in range(n_pieces):
        if piece > 0 and shard.interrupted(shard):
            return STOPPED
        if dx != NULL:
            rows_product(
                bf16, shard, rows, k, n, dx, dy, transposed_of(op, shard, WEIGHT), dx if adds_to(op, X) else NULL, k,
                part * n_pieces + piece, n_parts * n_pieces,
            )
        if dweight != NULL and transposed:
            columns_product(
                bf16, shard, rows, n, k, dweight, dy, x, adds_to(op, WEIGHT), part * n_pieces + piece, n_parts * n_pieces,
            )
        elif dweight != NULL:
            columns_product(
                bf16, shard, rows, k, n, dweight, x, dy, adds_to(op, WEIGHT), part * n_pieces + piece, n_parts * n_pieces,
            )
    if gradient_of(op, shard, BIAS) != NULL and shard.n_together > 1:
        column_sums_together(
            rows, n, gradient_of(op, shard, BIAS), dy, n, part, n_parts, shard.n_together, shard.together_step,
        )
    elif gradient_of(op, shard, BIAS) != NULL:
        column_sums(rows, n, gradient_of(op, shard, BIAS), dy, n, adds_to(op, BIAS), part, n_parts)
    return DONE


cdef inline void rows_product(
    const Bf16 *bf16, const Shard *shard, int64_t rows, int64_t columns, int64_t depth, float *c, const float *a,
    const float *panels, const float *start, int64_t start_row, int64_t part, int64_t n_parts,
) noexcept nogil:
    """c (rows, columns) OUT = start + a (rows, depth) times panels."""
    if bf16 != NULL:
        product_bf16(
            bf16, rows, columns, depth, c, columns, a, depth, <const pair *>panels, start, start_row,
            <pair *>shard.scratch, part, n_parts,
        )
    else:
        product(
            rows, columns, depth, c, columns, a, depth, 1, panels, start, start_row, part, n_parts,
            shard.n_together, shard.together_step,
        )


cdef inline void columns_product(
    const Bf16 *bf16, const Shard *shard, int64_t rows, int64_t k, int64_t n, float *c, const float *a, const float *b,
    bint add, int64_t part, int64_t n_parts,
) noexcept nogil:
    """c (k, n) OUT or ADD = a (rows, k) transposed times b (rows, n)."""
    cdef Together together
    cdef int64_t s
    if bf16 != NULL:
        weight_gradient_bf16(bf16, rows, k, n, c, a, k, b, n, add, <pair *>shard.scratch, part, n_parts)
    elif shard.n_together > 1:
        together.n, together.step = shard.n_together, shard.together_step
        for s in range(shard.n_together + 1):
            together.first[s] = s * rows
        weight_gradient_together(&together, k, n, c, a, k, b, n, shard.scratch, part, n_parts)
    else:
        weight_gradient(rows, k, n, c, a, k, b, n, add, shard.scratch, part, n_parts)


cdef int linear_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return forward(op, shard, part, n_parts, NULL)


cdef int linear_bf16_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return forward(op, shard, part, n_parts, native_or_not)


cdef int linear_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, NULL, False)


cdef int linear_bf16_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, native_or_not, False)


cdef int linear_transposed_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, NULL, True)


cdef int linear_transposed_bf16_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, native_or_not, True)


# Panels come in the forward's orientation, however the weight lies: the forward is the same.
KERNELS = {
    "linear_forward": kernel_capsule(linear_forward),
    "linear_backward": kernel_capsule(linear_backward),
    "linear_bf16_forward": kernel_capsule(linear_bf16_forward),
    "linear_bf16_backward": kernel_capsule(linear_bf16_backward),
    "linear_transposed_forward": kernel_capsule(linear_forward),
    "linear_transposed_backward": kernel_capsule(linear_transposed_backward),
    "linear_transposed_bf16_forward": kernel_capsule(linear_bf16_forward),
    "linear_transposed_bf16_backward": kernel_capsule(linear_transposed_bf16_backward),
}
