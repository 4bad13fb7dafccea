"""Matrix products over packed panels, by numerics rule 2: one chain an element, over ascending depth.

A panel holds TILE_COLUMNS columns of B for every k, zero padded, so that a tile reads it in order:
(n_panels, depth, TILE_COLUMNS). Which tile size, which order of tiles and which thread: no bit depends on them.
"""

from libc.stdint cimport int64_t

from cllm._kernels.op cimport part_begin
from cllm._kernels.simd cimport ROW_COLUMNS, TILE_COLUMNS, TILE_ROWS, tile_pack, tile_product, tile_row

# dweight's tokens and rows are worked on in blocks: a block of x, at most 768 KB, and a panel of dy, at most 512 tokens
# of 32 float32, stay in the second-level cache while all tiles that need them go by.
cdef enum:
    DEPTH_BLOCK = 512
    BLOCK = 512 * 384
    # Multiplications between two looks at whether somebody wants to stop: some tens of milliseconds.
    PIECE = 1 << 30


cdef inline int64_t n_panels_of(int64_t columns) noexcept nogil:
    return (columns + TILE_COLUMNS - 1) // TILE_COLUMNS


cdef inline int64_t n_pieces_of(int64_t rows, int64_t columns, int64_t depth, int64_t n_parts) noexcept nogil:
    """In how many pieces a part of a product is made, so that a large one can be left half-way."""
    return 1 + rows * columns * depth // n_parts // PIECE


cdef inline int64_t n_tiles_of(int64_t rows) noexcept nogil:
    return (rows + TILE_ROWS - 1) // TILE_ROWS


cdef inline void pack_panels(
    float *panels, const float *b, int64_t depth, int64_t columns, int64_t depth_step, int64_t column_step,
    int64_t first, int64_t last,
) noexcept nogil:
    """Panels first:last of B (depth, columns): panels (n_panels, depth, TILE_COLUMNS) OUT."""
    cdef int64_t p
    for p in range(first, last):
        tile_pack(
            panels + p * depth * TILE_COLUMNS, b + p * TILE_COLUMNS * column_step,
            depth, min(columns - p * TILE_COLUMNS, TILE_COLUMNS), depth_step, column_step,
        )


cdef inline void panel_product(
    int64_t rows, int64_t columns, int64_t depth, float *c, int64_t c_row,
    const float *a, int64_t a_row, int64_t a_step, const float *panel, const float *start, int64_t start_row,
    int64_t first_tile, int64_t last_tile,
) noexcept nogil:
    """Row tiles first:last of C (rows, columns) = start + A (rows, depth) times one panel."""
    cdef int64_t n_tiles = n_tiles_of(rows), t, r, n
    for t in range(first_tile, last_tile):
        r = rows * t // n_tiles
        n = rows * (t + 1) // n_tiles - r
        tile_product(
            n, columns, depth, c + r * c_row, c_row, a + r * a_row, a_row, a_step, panel,
            start + r * start_row if start != NULL else NULL, start_row,
        )


cdef inline void row_product(
    int64_t columns, int64_t depth, float *c, const float *a, const float *panels, const float *start,
    int64_t first_panel, int64_t last_panel,
) noexcept nogil:
    """Panels first:last of C (1, columns) = start + A (1, depth) times B in panels: a decoder's token."""
    cdef int64_t column = first_panel * TILE_COLUMNS, end = min(columns, last_panel * TILE_COLUMNS)
    while column < end:
        tile_row(
            min(end - column, ROW_COLUMNS), depth, c + column, a, panels + column * depth, TILE_COLUMNS,
            depth * TILE_COLUMNS, start + column if start != NULL else NULL,
        )
        column += ROW_COLUMNS


cdef inline void product(
    int64_t rows, int64_t columns, int64_t depth, float *c, int64_t c_row,
    const float *a, int64_t a_row, int64_t a_step, const float *panels, const float *start, int64_t start_row,
    int64_t part, int64_t n_parts,
) noexcept nogil:
    """C (rows, columns) OUT = start + A (rows, depth) IN times B (depth, columns) IN in panels.

    `start` is NULL (+0), C itself (the product continues), or a bias with start_row 0. The part's share are whole
    tiles, a panel's tiles one after the other, so that the panel stays in the first-level cache.
    """
    cdef int64_t n_tiles = n_tiles_of(rows), n_units = n_panels_of(columns) * n_tiles
    cdef int64_t unit = part_begin(n_units, 1, part, n_parts), end = part_begin(n_units, 1, part + 1, n_parts)
    cdef int64_t p, t, last
    if rows == 1 and a_step == 1:
        row_product(columns, depth, c, a, panels, start, unit, end)
        return
    while unit < end:
        p = unit // n_tiles
        t = unit - p * n_tiles
        last = min(n_tiles, t + end - unit)
        panel_product(
            rows, min(columns - p * TILE_COLUMNS, TILE_COLUMNS), depth, c + p * TILE_COLUMNS, c_row,
            a, a_row, a_step, panels + p * depth * TILE_COLUMNS,
            start + p * TILE_COLUMNS if start != NULL else NULL, start_row, t, last,
        )
        unit += last - t


cdef inline void block_gradient(
    int64_t rows, int64_t height, int64_t n, float *dweight, const float *x, int64_t x_row, const float *dy, int64_t dy_row,
    bint add, float *panel, int64_t first_panel, int64_t last_panel,
) noexcept nogil:
    """Panels first:last of `height` rows of dweight; panel is room for one of dy (DEPTH_BLOCK, TILE_COLUMNS)."""
    cdef int64_t token = 0, tokens, p, columns
    cdef float *c
    while token < rows:
        tokens = min(rows - token, DEPTH_BLOCK)
        for p in range(first_panel, last_panel):
            columns = min(n - p * TILE_COLUMNS, TILE_COLUMNS)
            tile_pack(panel, dy + token * dy_row + p * TILE_COLUMNS, tokens, columns, dy_row, 1)
            c = dweight + p * TILE_COLUMNS
            panel_product(
                height, columns, tokens, c, n, x + token * x_row, 1, x_row, panel,
                c if add or token > 0 else NULL, n, 0, n_tiles_of(height),
            )
        token += tokens


cdef inline void weight_gradient(
    int64_t rows, int64_t k, int64_t n, float *dweight, const float *x, int64_t x_row, const float *dy, int64_t dy_row,
    bint add, float *panel, int64_t part, int64_t n_parts,
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
            rows, k * (block + 1) // n_blocks - row, n, dweight + row * n, x + row, x_row, dy, dy_row, add, panel,
            first, last,
        )
        unit += last - first
