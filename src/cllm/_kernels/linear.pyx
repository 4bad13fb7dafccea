"""The kernel of the op `linear`: y = x · weight + bias, and its three gradients."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.sums cimport column_sums
from cllm._kernels.gemm cimport n_panels_of, n_tiles_of, panel_product, product
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, packed_of, part_begin, transposed_of, value_of
from cllm._kernels.simd cimport TILE_COLUMNS, tile_pack

# dweight's tokens and rows are worked on in blocks: a block of x, at most 768 KB, and a panel of dy, at most 512 tokens
# of 32 float32, stay in the second-level cache while all tiles that need them go by.
cdef enum:
    DEPTH_BLOCK = 512
    BLOCK = 512 * 384
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

    x is read where it lies, down its columns: a tile takes a cache line from each row, and each line once.
    """
    cdef int64_t n_blocks = (k * min(rows, DEPTH_BLOCK) + BLOCK - 1) // BLOCK, n_panels = n_panels_of(n)
    cdef int64_t unit = part_begin(n_blocks * n_panels, 1, part, n_parts), block, first, last, row
    cdef int64_t end = part_begin(n_blocks * n_panels, 1, part + 1, n_parts)
    while unit < end:
        block = unit // n_panels
        first = unit - block * n_panels
        last = min(n_panels, first + end - unit)
        row = k * block // n_blocks
        block_gradient(
            rows, k * (block + 1) // n_blocks - row, n, dweight + row * n, x + row, k, dy, add, panel, first, last,
        )
        unit += last - first


cdef void block_gradient(
    int64_t rows, int64_t height, int64_t n, float *dweight, const float *x, int64_t x_row, const float *dy, bint add,
    float *panel, int64_t first_panel, int64_t last_panel,
) noexcept nogil:
    """Panels first:last of `height` rows of dweight; panel is room for one of dy (DEPTH_BLOCK, TILE_COLUMNS)."""
    cdef int64_t token = 0, tokens, p, columns
    cdef float *c
    while token < rows:
        tokens = min(rows - token, DEPTH_BLOCK)
        for p in range(first_panel, last_panel):
            columns = min(n - p * TILE_COLUMNS, TILE_COLUMNS)
            tile_pack(panel, dy + token * n + p * TILE_COLUMNS, tokens, columns, n, 1)
            c = dweight + p * TILE_COLUMNS
            panel_product(
                height, columns, tokens, c, n, x + token * x_row, 1, x_row, panel,
                c if add or token > 0 else NULL, n, 0, n_tiles_of(height),
            )
        token += tokens


KERNELS = {
    "linear_forward": kernel_capsule(linear_forward),
    "linear_backward": kernel_capsule(linear_backward),
}
