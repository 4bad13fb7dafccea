"""Matrix products over packed panels, by numerics rule 2: one chain an element, over ascending depth.

A panel holds TILE_COLUMNS columns of B for every k, zero padded, so that a tile reads it in order:
(n_panels, depth, TILE_COLUMNS). Which tile size, which order of tiles and which thread: no bit depends on them.
"""

from libc.stdint cimport int64_t

from cllm._kernels.op cimport part_begin
from cllm._kernels.simd cimport ROW_COLUMNS, TILE_COLUMNS, TILE_ROWS, tile_pack, tile_product, tile_row


cdef inline int64_t n_panels_of(int64_t columns) noexcept nogil:
    return (columns + TILE_COLUMNS - 1) // TILE_COLUMNS


cdef inline int64_t n_tiles_of(int64_t rows) noexcept nogil:
    return (rows + TILE_ROWS - 1) // TILE_ROWS


cdef inline void pack_panels(
    float *panels, const float *b, int64_t depth, int64_t columns, int64_t depth_step, int64_t column_step,
    int64_t part, int64_t n_parts,
) noexcept nogil:
    """All panels of B (depth, columns): panels (n_panels, depth, TILE_COLUMNS) OUT."""
    cdef int64_t n_panels = n_panels_of(columns), p
    for p in range(part_begin(n_panels, 1, part, n_parts), part_begin(n_panels, 1, part + 1, n_parts)):
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
