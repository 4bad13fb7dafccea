"""The kernel of the op `linear`: y = x · weight + bias, and its three gradients."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.sums cimport column_sums
from cllm._kernels.gemm cimport n_tiles_of, pack_panel, panel_product, product
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, packed_of, part_begin, transposed_of, value_of
from cllm._kernels.simd cimport TILE_COLUMNS

# Tokens of one packed block of dy: 256 x 32 float32 are 32 KB, which stay in the first-level cache with their sums.
cdef enum:
    DEPTH_BLOCK = 256
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
    cdef int64_t rows = shard.n_sequences * shard.time - first
    product(
        rows, n, k, value_of(op, shard, Y) + first * n, n, value_of(op, shard, X) + first * k, k, 1,
        packed_of(op, shard, WEIGHT), value_of(op, shard, BIAS), 0, part, n_parts,
    )
    return DONE


cdef int linear_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dx (rows, K), dweight (K, N), dbias (N,) OUT or ADD; dy (rows, N), x (rows, K), weight IN."""
    cdef int64_t k = op.size[K], n = op.size[N], rows = shard.n_sequences * shard.time
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef float *dx = gradient_of(op, shard, X)
    cdef float *dweight = gradient_of(op, shard, WEIGHT)
    cdef float *dbias = gradient_of(op, shard, BIAS)
    if dx != NULL:
        product(
            rows, k, n, dx, k, dy, n, 1, transposed_of(op, shard, WEIGHT),
            dx if adds_to(op, X) else NULL, k, part, n_parts,
        )
    if dweight != NULL:
        weight_gradient(
            rows, k, n, dweight, value_of(op, shard, X), dy, adds_to(op, WEIGHT), shard.scratch, part, n_parts,
        )
    if dbias != NULL:
        column_sums(rows, n, dbias, dy, n, adds_to(op, BIAS), part, n_parts)
    return DONE


cdef void weight_gradient(
    int64_t rows, int64_t k, int64_t n, float *dweight, const float *x, const float *dy, bint add, float *panel,
    int64_t part, int64_t n_parts,
) noexcept nogil:
    """dweight (k, n) OUT or ADD = x (rows, k) transposed times dy (rows, n): chains over ascending tokens.

    panel (DEPTH_BLOCK, TILE_COLUMNS) is scratch: a block of tokens of dy.
    """
    cdef int64_t n_tiles = n_tiles_of(k), n_panels = (n + TILE_COLUMNS - 1) // TILE_COLUMNS
    cdef int64_t unit = part_begin(n_panels * n_tiles, 1, part, n_parts)
    cdef int64_t end = part_begin(n_panels * n_tiles, 1, part + 1, n_parts)
    cdef int64_t p, t, last, column, columns, token, tokens
    cdef float *c
    while unit < end:
        p = unit // n_tiles
        t = unit - p * n_tiles
        last = min(n_tiles, t + end - unit)
        column = p * TILE_COLUMNS
        columns = min(n - column, TILE_COLUMNS)
        c = dweight + column
        token = 0
        while token < rows:
            tokens = min(rows - token, DEPTH_BLOCK)
            pack_panel(panel, dy + token * n + column, tokens, columns, n, 1)
            panel_product(
                k, columns, tokens, c, n, x + token * k, 1, k, panel,
                c if add or token > 0 else NULL, n, t, last,
            )
            token += tokens
        unit += last - t


KERNELS = {
    "linear_forward": kernel_capsule(linear_forward),
    "linear_backward": kernel_capsule(linear_backward),
}
