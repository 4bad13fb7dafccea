"""Matrix products in bfloat16 by numerics rule 12, of float32 operands that are rounded on the way in.

The matrices of a model come in panels of pairs, packed once a step: (n_panels, ceil(depth / 2), TILE_COLUMNS). The
other operand is rounded block by block into scratch, which costs little beside its products with all panels.
"""

from libc.stdint cimport int64_t

from cllm._kernels.bf16 cimport Bf16, pair
from cllm._kernels.gemm cimport n_panels_of, n_tiles_of
from cllm._kernels.op cimport part_begin
from cllm._kernels.simd cimport TILE_COLUMNS

cdef enum:
    # Pairs of a block, 512 KB: they stay in the second-level cache while all panels go by. DEPTH is even (rule 12).
    BLOCK = 128 * 1024
    DEPTH = 4096
    # Tokens of a block of a weight's gradient, whose panels are 32 KB and stay in the first-level cache.
    TOKENS = 512
    # Scratch of the products, in pairs: a block with room for what a conversion writes over, and a panel.
    ROOM = BLOCK + 64
    PANEL = TOKENS // 2 * 32


cdef inline int64_t n_pairs_of(int64_t depth) noexcept nogil:
    return (depth + 1) // 2


cdef inline void pack_pairs(
    const Bf16 *bf16, pair *panels, const float *b, int64_t depth, int64_t columns, int64_t depth_step,
    int64_t column_step, int64_t first, int64_t last,
) noexcept nogil:
    """Panels first:last of B (depth, columns)."""
    cdef int64_t p
    for p in range(first, last):
        bf16.pack(
            panels + p * n_pairs_of(depth) * TILE_COLUMNS, b + p * TILE_COLUMNS * column_step,
            depth, min(columns - p * TILE_COLUMNS, TILE_COLUMNS), depth_step, column_step,
        )


cdef inline void tiles_of_pairs(
    const Bf16 *bf16, int64_t rows, int64_t columns, int64_t n_pairs, float *c, int64_t c_row, const pair *a,
    int64_t a_row, int64_t a_step, const pair *panel, const float *start, int64_t start_row, int64_t first, int64_t last,
) noexcept nogil:
    """Row tiles first:last of C (rows, columns) = start + A (rows, pairs) times one panel."""
    cdef int64_t n_tiles = n_tiles_of(rows), t, r
    for t in range(first, last):
        r = rows * t // n_tiles
        bf16.tile(
            rows * (t + 1) // n_tiles - r, columns, n_pairs, c + r * c_row, c_row, a + r * a_row, a_row, a_step, panel,
            start + r * start_row if start != NULL else NULL, start_row,
        )


cdef inline void product_bf16(
    const Bf16 *bf16, int64_t rows, int64_t columns, int64_t depth, float *c, int64_t c_row,
    const float *a, int64_t a_row, const pair *panels, const float *start, int64_t start_row, pair *room,
    int64_t part, int64_t n_parts,
) noexcept nogil:
    """C (rows, columns) OUT = start + A (rows, depth) IN, rounded, times B (depth, columns) IN in panels of pairs.

    `start` as in `product` of gemm.pxd. room: ROOM pairs. Each part rounds what its tiles need.
    """
    cdef int64_t n_panels = n_panels_of(columns), k = 0, row, n, terms, n_pairs, most, n_tiles, unit, end, p, t, last
    cdef const pair *panel
    while k < depth:
        terms = min(depth - k, DEPTH)
        n_pairs = n_pairs_of(terms)
        most = BLOCK // n_pairs
        row = 0
        while row < rows:
            n = min(rows - row, most)
            bf16.along(room, a + row * a_row + k, n, terms, a_row)
            n_tiles = n_tiles_of(n)
            unit = part_begin(n_panels * n_tiles, 1, part, n_parts)
            end = part_begin(n_panels * n_tiles, 1, part + 1, n_parts)
            while unit < end:
                p = unit // n_tiles
                t = unit - p * n_tiles
                last = min(n_tiles, t + end - unit)
                panel = panels + (p * n_pairs_of(depth) + k // 2) * TILE_COLUMNS
                tiles_of_pairs(
                    bf16, n, min(columns - p * TILE_COLUMNS, TILE_COLUMNS), n_pairs, c + row * c_row + p * TILE_COLUMNS,
                    c_row, room, n_pairs, 1, panel, start + row * start_row + p * TILE_COLUMNS if start != NULL else NULL,
                    start_row, t, last,
                )
                unit += last - t
            row += n
        start, start_row = c, c_row
        k += terms


cdef inline void weight_gradient_bf16(
    const Bf16 *bf16, int64_t rows, int64_t k, int64_t n, float *dweight, const float *x, int64_t x_row,
    const float *dy, int64_t dy_row, bint add, pair *room, int64_t part, int64_t n_parts,
) noexcept nogil:
    """dweight (k, n) OUT or ADD = x (rows, k) transposed times dy (rows, n), both rounded: over ascending pairs of tokens.

    room: ROOM + PANEL pairs.
    """
    cdef int64_t n_blocks = (k * n_pairs_of(min(rows, TOKENS)) + BLOCK - 1) // BLOCK, n_panels = n_panels_of(n)
    cdef int64_t unit = part_begin(n_blocks * n_panels, 1, part, n_parts), block, first, last, row, height, token, tokens, p
    cdef int64_t end = part_begin(n_blocks * n_panels, 1, part + 1, n_parts), columns
    cdef pair *panel = room + ROOM
    cdef float *c
    while unit < end:
        block = unit // n_panels
        first = unit - block * n_panels
        last = min(n_panels, first + end - unit)
        row = k * block // n_blocks
        height = k * (block + 1) // n_blocks - row
        token = 0
        while token < rows:
            tokens = min(rows - token, TOKENS)
            bf16.across(room, height, x + token * x_row + row, tokens, height, x_row)
            for p in range(first, last):
                columns = min(n - p * TILE_COLUMNS, TILE_COLUMNS)
                bf16.pack(panel, dy + token * dy_row + p * TILE_COLUMNS, tokens, columns, dy_row, 1)
                c = dweight + row * n + p * TILE_COLUMNS
                tiles_of_pairs(
                    bf16, height, columns, n_pairs_of(tokens), c, n, room, 1, height, panel,
                    c if add or token > 0 else NULL, n, 0, n_tiles_of(height),
                )
            token += tokens
        unit += last - first
