"""The kernels of the ops `linear` and `linear_transposed`: y = x · weight + bias, and its three gradients."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.sums cimport column_sums
from cllm._kernels.gemm cimport n_pieces_of, product, weight_gradient
from cllm._kernels.op cimport DONE, STOPPED, Op, Shard, adds_to, gradient_of, packed_of, transposed_of, value_of

cdef enum:
    Y = 0
    X = 1
    WEIGHT = 2
    BIAS = 3
    # size
    K = 0
    N = 1


cdef int linear_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (rows, N) OUT; x (rows, K), weight (K, N) in panels, bias (N,) or none IN."""
    cdef int64_t k = op.size[K], n = op.size[N], first = shard.first
    cdef int64_t rows = shard.n_sequences * shard.time - first, n_pieces = n_pieces_of(rows, n, k, n_parts), piece
    for piece in range(n_pieces):
        if piece > 0 and shard.interrupted(shard):
            return STOPPED
        product(
            rows, n, k, value_of(op, shard, Y) + first * n, n, value_of(op, shard, X) + first * k, k, 1,
            packed_of(op, shard, WEIGHT), value_of(op, shard, BIAS), 0, part * n_pieces + piece, n_parts * n_pieces,
        )
    return DONE


cdef int linear_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, False)


cdef int linear_transposed_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, True)


cdef inline int backward(
    const Op *op, const Shard *shard, int64_t part, int64_t n_parts, bint transposed,
) noexcept nogil:
    """dx (rows, K), dweight (K, N) or transposed, dbias (N,) OUT or ADD; dy (rows, N), x (rows, K), weight IN."""
    cdef int64_t k = op.size[K], n = op.size[N], rows = shard.n_sequences * shard.time
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef float *dx = gradient_of(op, shard, X)
    cdef float *dweight = gradient_of(op, shard, WEIGHT)
    cdef float *dbias = gradient_of(op, shard, BIAS)
    cdef int64_t n_pieces = n_pieces_of(rows, n, 2 * k, n_parts), piece
    for piece in range(n_pieces):
        if piece > 0 and shard.interrupted(shard):
            return STOPPED
        if dx != NULL:
            product(
                rows, k, n, dx, k, dy, n, 1, transposed_of(op, shard, WEIGHT),
                dx if adds_to(op, X) else NULL, k, part * n_pieces + piece, n_parts * n_pieces,
            )
        if dweight != NULL:
            oriented_gradient(
                rows, k, n, dweight, value_of(op, shard, X), dy, adds_to(op, WEIGHT), shard.scratch,
                part * n_pieces + piece, n_parts * n_pieces, transposed,
            )
    if dbias != NULL:
        column_sums(rows, n, dbias, dy, n, adds_to(op, BIAS), part, n_parts)
    return DONE


cdef inline void oriented_gradient(
    int64_t rows, int64_t k, int64_t n, float *dweight, const float *x, const float *dy, bint add, float *panel,
    int64_t part, int64_t n_parts, bint transposed,
) noexcept nogil:
    """The same chains, laid down as (K, N) or as (N, K)."""
    if transposed:
        weight_gradient(rows, n, k, dweight, dy, n, x, k, add, panel, part, n_parts)
    else:
        weight_gradient(rows, k, n, dweight, x, k, dy, n, add, panel, part, n_parts)


KERNELS = {
    "linear_forward": kernel_capsule(linear_forward),
    "linear_backward": kernel_capsule(linear_backward),
    "linear_transposed_forward": kernel_capsule(linear_forward),
    "linear_transposed_backward": kernel_capsule(linear_transposed_backward),
}
