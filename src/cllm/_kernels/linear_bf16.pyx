"""The kernels of the ops `linear_bf16` and `linear_transposed_bf16`: linear's products in bfloat16 (numerics rule 12); all that is stored is float32."""

from libc.stdint cimport int64_t

from cllm._kernels.bf16 cimport Bf16, bf16_emulated, bf16_native, pair
from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.gemm cimport n_pieces_of
from cllm._kernels.gemm_bf16 cimport product_bf16, weight_gradient_bf16
from cllm._kernels.op cimport DONE, STOPPED, Op, Shard, adds_to, gradient_of, packed_of, transposed_of, value_of
from cllm._kernels.sums cimport column_sums

cdef enum:
    Y = 0
    X = 1
    WEIGHT = 2
    BIAS = 3
    # size
    K = 0
    N = 1

cdef const Bf16 *bf16 = &bf16_emulated


def use_native(bint native):
    """Whether to multiply bfloat16 by the processor's own instruction, which changes no bit; returns whether it is built."""
    global bf16
    bf16 = &bf16_native if native else &bf16_emulated
    return &bf16_native != &bf16_emulated


cdef int linear_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (rows, N) OUT; x (rows, K), weight (K, N) in panels of pairs, bias (N,) or none IN."""
    cdef int64_t k = op.size[K], n = op.size[N], first = shard.first
    cdef int64_t rows = shard.n_sequences * shard.time - first, n_pieces = n_pieces_of(rows, n, k, n_parts), piece
    for piece in range(n_pieces):
        if piece > 0 and shard.interrupted(shard):
            return STOPPED
        product_bf16(
            bf16, rows, n, k, value_of(op, shard, Y) + first * n, n, value_of(op, shard, X) + first * k, k,
            <const pair *>packed_of(op, shard, WEIGHT), value_of(op, shard, BIAS), 0, <pair *>shard.scratch,
            part * n_pieces + piece, n_parts * n_pieces,
        )
    return DONE


cdef int linear_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, False)


cdef int linear_transposed_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, True)


cdef inline int backward(
    const Op *op, const Shard *shard, int64_t part, int64_t n_parts, bint transposed,
) noexcept nogil:
    """dx (rows, K), dweight (K, N), dbias (N,) OUT or ADD; dy (rows, N), x (rows, K), weight IN."""
    cdef int64_t k = op.size[K], n = op.size[N], rows = shard.n_sequences * shard.time
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef float *dx = gradient_of(op, shard, X)
    cdef int64_t n_pieces = n_pieces_of(rows, n, 2 * k, n_parts), piece
    for piece in range(n_pieces):
        if piece > 0 and shard.interrupted(shard):
            return STOPPED
        if dx != NULL:
            product_bf16(
                bf16, rows, k, n, dx, k, dy, n, <const pair *>transposed_of(op, shard, WEIGHT),
                dx if adds_to(op, X) else NULL, k, <pair *>shard.scratch, part * n_pieces + piece, n_parts * n_pieces,
            )
        if gradient_of(op, shard, WEIGHT) != NULL:
            oriented_gradient(
                rows, k, n, gradient_of(op, shard, WEIGHT), value_of(op, shard, X), dy, adds_to(op, WEIGHT),
                <pair *>shard.scratch, part * n_pieces + piece, n_parts * n_pieces, transposed,
            )
    if gradient_of(op, shard, BIAS) != NULL:
        column_sums(rows, n, gradient_of(op, shard, BIAS), dy, n, adds_to(op, BIAS), part, n_parts)
    return DONE


cdef inline void oriented_gradient(
    int64_t rows, int64_t k, int64_t n, float *dweight, const float *x, const float *dy, bint add, pair *room,
    int64_t part, int64_t n_parts, bint transposed,
) noexcept nogil:
    """The same chains, laid down as (K, N) or as (N, K)."""
    if transposed:
        weight_gradient_bf16(bf16, rows, n, k, dweight, dy, n, x, k, add, room, part, n_parts)
    else:
        weight_gradient_bf16(bf16, rows, k, n, dweight, x, k, dy, n, add, room, part, n_parts)


KERNELS = {
    "linear_bf16_forward": kernel_capsule(linear_forward),
    "linear_bf16_backward": kernel_capsule(linear_backward),
    "linear_transposed_bf16_forward": kernel_capsule(linear_forward),
    "linear_transposed_bf16_backward": kernel_capsule(linear_transposed_backward),
}
