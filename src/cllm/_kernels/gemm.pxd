"""Matrix products over packed panels, by numerics rule 2: one chain an element, over ascending depth.

A panel holds TILE_COLUMNS columns of B for every k, zero padded, so that a tile reads it in order:
(n_panels, depth, TILE_COLUMNS). Which tile size, which order of tiles and which thread: no bit depends on them.
"""

from libc.stdint cimport int64_t

from cllm._kernels.op cimport MOST_LEVELS, MOST_ROWS_TOGETHER, part_begin
from cllm._kernels.simd cimport (
    ROW_COLUMNS, TILE_COLUMNS, TILE_ROWS, tile_expect, tile_pack, tile_pack_turned, tile_product, tile_row,
    tile_sum,
)
from cllm._kernels.sums cimport add_levels, level_before

# dweight's tokens and rows are worked on in blocks: a block of x, at most 768 KB, and a panel of dy, at most 512 tokens
# of 32 float32, stay in the second-level cache while all tiles that need them go by. cllm/ops/room.py knows them too.
cdef enum:
    DEPTH_BLOCK = 512
    BLOCK = 512 * 384
    # Scratch in front of the block: a panel of dy, of all tokens of shards that are computed at once, and a tile of sums
    # for each level of their tree.
    LARGEST_TILE = 14 * 32
    SUMS = MOST_ROWS_TOGETHER * 32
    BEFORE_BLOCK = SUMS + MOST_LEVELS * LARGEST_TILE
    # A product of so few elements finds them in the caches next to it: nothing is packed or asked for in advance.
    NEAR = 1 << 16
    # Of the next panel so many rows are asked for with each tile; more would keep the tile's own loads waiting.
    MOST_EXPECTED = 20
    # A longer product goes by parts of its depth, for all panels: what a tile reads of a panel stays near for the next one.
    LONGEST = 3072
    # Rows of a matrix that are packed at a time: as lines of one set of the first-level cache there is room for them.
    PACKED_TOGETHER = 8
    # Multiplications between two looks at whether somebody wants to stop: some tens of milliseconds.
    PIECE = 1 << 30


cdef inline int64_t n_panels_of(int64_t columns) noexcept nogil:
    return (columns + TILE_COLUMNS - 1) // TILE_COLUMNS


cdef inline int64_t n_pieces_of(int64_t rows, int64_t columns, int64_t depth, int64_t n_parts) noexcept nogil:
    """In how many pieces a part of a product is made, so that a large one can be left half-way."""
    return 1 + rows * columns * depth // n_parts // PIECE


cdef inline bint is_near(int64_t rows, int64_t k, int64_t n) noexcept nogil:
    """Whether the three matrices of a product, (rows, k), (k, n) and (rows, n), have so few elements together."""
    return rows * (k + n) + k * n <= NEAR


cdef inline int64_t n_tiles_of(int64_t rows) noexcept nogil:
    return (rows + TILE_ROWS - 1) // TILE_ROWS


cdef inline void pack_panels(
    float *panels, const float *b, int64_t depth, int64_t columns, int64_t depth_step, int64_t column_step,
    int64_t first, int64_t last,
) noexcept nogil:
    """Panels first:last of B (depth, columns): panels (n_panels, depth, TILE_COLUMNS) OUT.

    Of a large B a few rows go to all panels before the next ones do, so that memory is read along its rows.
    """
    cdef int64_t p, k = 0, n = PACKED_TOGETHER if column_step == 1 and depth * columns > NEAR else depth
    while k < depth:
        n = min(n, depth - k)
        for p in range(first, last):
            tile_pack(
                panels + (p * depth + k) * TILE_COLUMNS, b + k * depth_step + p * TILE_COLUMNS * column_step,
                n, min(columns - p * TILE_COLUMNS, TILE_COLUMNS), depth_step, column_step,
            )
        k += n


cdef inline void panel_product(
    int64_t rows, int64_t columns, int64_t depth, float *c, int64_t c_row,
    const float *a, int64_t a_row, int64_t a_step, const float *panel, const float *start, int64_t start_row,
    int64_t first_tile, int64_t last_tile, const float *next=NULL,
) noexcept nogil:
    """Row tiles first:last of C (rows, columns) = start + A (rows, depth) times one panel.

    next: a panel that comes nearer meanwhile, a share with each tile; NULL: none.
    """
    cdef int64_t n_tiles = n_tiles_of(rows), t, r, n, k
    for t in range(first_tile, last_tile):
        if next != NULL:
            k = depth * t // n_tiles
            tile_expect(next + k * TILE_COLUMNS, depth * (t + 1) // n_tiles - k, TILE_COLUMNS)
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


cdef inline void row_product_in_place(
    int64_t columns, int64_t depth, float *c, const float *a, const float *b, int64_t b_row,
) noexcept nogil:
    """C (1, columns) OUT = A (1, depth) times B as it lies, with so long rows: no panel is packed for a single row."""
    cdef int64_t column = 0
    while column < columns:
        tile_row(min(columns - column, ROW_COLUMNS), depth, c + column, a, b + column, b_row, TILE_COLUMNS, NULL)
        column += ROW_COLUMNS


cdef inline void product(
    int64_t rows, int64_t columns, int64_t depth, float *c, int64_t c_row,
    const float *a, int64_t a_row, int64_t a_step, const float *panels, const float *start, int64_t start_row,
    int64_t part, int64_t n_parts, int64_t n_together=1, int64_t step=0,
) noexcept nogil:
    """C (rows, columns) OUT = start + A (rows, depth) IN times B (depth, columns) IN in panels.

    `start` is NULL (+0), C itself (the product continues), or a bias with start_row 0. The part's share are whole tiles,
    those of n_together shards, whose A and C lie `step` elements apart.
    """
    cdef int64_t n_tiles = n_tiles_of(rows), n_units = n_panels_of(columns) * n_together * n_tiles, block
    cdef int64_t first = part_begin(n_units, 1, part, n_parts), last = part_begin(n_units, 1, part + 1, n_parts)
    cdef int64_t n_blocks = (depth + LONGEST - 1) // LONGEST, k
    if rows == 1 and a_step == 1 and n_together == 1:
        row_product(columns, depth, c, a, panels, start, first, last)
        return
    for block in range(n_blocks):
        k = depth * block // n_blocks
        block_product(
            rows, columns, depth * (block + 1) // n_blocks - k, c, c_row, a + k * a_step, a_row, a_step,
            panels + k * TILE_COLUMNS, depth * TILE_COLUMNS, start, start_row, first, last, n_together, step,
        )
        start, start_row = c, c_row


cdef inline void block_product(
    int64_t rows, int64_t columns, int64_t depth, float *c, int64_t c_row, const float *a, int64_t a_row, int64_t a_step,
    const float *panels, int64_t panel_step, const float *start, int64_t start_row, int64_t unit, int64_t end,
    int64_t n_together, int64_t step,
) noexcept nogil:
    """Tiles unit:end of `product` for a part of the depth; a panel's tiles one after the other, so that it stays near.

    Panels lie `panel_step` apart.
    """
    cdef int64_t n_tiles = n_tiles_of(rows), start_step = step if start == c else 0, s, p, t, last
    cdef const float *panel
    cdef const float *next
    cdef bint expects = depth <= MOST_EXPECTED * n_tiles and not is_near(rows, depth, columns)
    while unit < end:
        s = unit // n_tiles
        t = unit - s * n_tiles
        p = s // n_together
        s -= p * n_together
        last = min(n_tiles, t + end - unit)
        panel = panels + p * panel_step
        next = panel + panel_step if unit + last - t < end and expects else NULL
        panel_product(
            rows, min(columns - p * TILE_COLUMNS, TILE_COLUMNS), depth, c + s * step + p * TILE_COLUMNS, c_row,
            a + s * step, a_row, a_step, panel,
            start + s * start_step + p * TILE_COLUMNS if start != NULL else NULL, start_row, t, last, next,
        )
        unit += last - t


cdef inline void block_gradient(
    int64_t rows, int64_t height, int64_t n, float *dweight, const float *x, int64_t x_row, const float *dy, int64_t dy_row,
    bint add, float *room, int64_t first_panel, int64_t last_panel,
) noexcept nogil:
    """Panels first:last of `height` rows of dweight."""
    cdef int64_t token = 0, tokens, p, columns
    cdef float *block = room + BEFORE_BLOCK
    cdef float *c
    cdef const float *column
    cdef bint in_place = is_near(rows, height, n)
    while token < rows:
        tokens = min(rows - token, DEPTH_BLOCK)
        if not in_place:
            tile_pack_turned(block, x + token * x_row, tokens, height, x_row)
        for p in range(first_panel, last_panel):
            columns = min(n - p * TILE_COLUMNS, TILE_COLUMNS)
            column = dy + token * dy_row + p * TILE_COLUMNS
            c = dweight + p * TILE_COLUMNS
            tile_pack(room, column, tokens, columns, dy_row, 1)
            if in_place:
                panel_product(
                    height, columns, tokens, c, n, x + token * x_row, 1, x_row, room,
                    c if add or token > 0 else NULL, n, 0, n_tiles_of(height),
                )
            else:
                panel_gradient(
                    tokens, height, columns, c, n, block, room, add or token > 0,
                    column + TILE_COLUMNS if p + 1 < last_panel else NULL, dy_row,
                )
        token += tokens


cdef inline void panel_gradient(
    int64_t tokens, int64_t height, int64_t columns, float *c, int64_t c_row, const float *block, const float *panel,
    bint add, const float *next, int64_t next_row,
) noexcept nogil:
    """C (height, columns) OUT or ADD = block, packed by tiles, times panel.

    What the next tile writes, and what the next panel is packed from (tokens, TILE_COLUMNS), NULL if there is none,
    comes nearer while this tile computes: from a third-level cache it takes longer than a processor looks ahead.
    """
    cdef int64_t n_tiles = n_tiles_of(height), t, r, n, token
    for t in range(n_tiles):
        r = height * t // n_tiles
        n = height * (t + 1) // n_tiles - r
        if t + 1 < n_tiles:
            tile_expect(c + (r + n) * c_row, height * (t + 2) // n_tiles - r - n, c_row)
        if next != NULL:
            token = tokens * t // n_tiles
            tile_expect(next + token * next_row, tokens * (t + 1) // n_tiles - token, next_row)
        tile_product(
            n, columns, tokens, c + r * c_row, c_row, block + r * tokens, 1, n, panel,
            c + r * c_row if add else NULL, c_row,
        )


cdef inline void weight_gradient(
    int64_t rows, int64_t k, int64_t n, float *dweight, const float *x, int64_t x_row, const float *dy, int64_t dy_row,
    bint add, float *room, int64_t part, int64_t n_parts,
) noexcept nogil:
    """dweight (k, n) OUT or ADD = x (rows, k) transposed times dy (rows, n): chains over ascending tokens.

    room: for a panel of dy and a block of x, which is packed once for all panels.
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
            rows, k * (block + 1) // n_blocks - row, n, dweight + row * n, x + row, x_row, dy, dy_row, add, room,
            first, last,
        )
        unit += last - first


# --- several shards at once: they meet tile by tile, in the order in which whole gradients would -------------------


cdef struct Together:
    # Shards at once: a power of two from 2 on, with at most MOST_ROWS_TOGETHER rows, which may be different in number.
    int64_t n
    int64_t[65] first            # how many rows are before each shard's, and the rows of all (MOST_TOGETHER + 1)
    int64_t step                 # elements from x and dy of a shard to those of the next; 0: rows are without a gap


cdef inline int64_t place_of(const Together *shards, int64_t s, int64_t row) noexcept nogil:
    """Where shard s begins in an array of so long rows."""
    return s * shards.step if shards.step != 0 else shards.first[s] * row


cdef inline int64_t rows_of(const Together *shards, int64_t s) noexcept nogil:
    return shards.first[s + 1] - shards.first[s]


cdef inline void weight_gradient_together(
    const Together *shards, int64_t k, int64_t n, float *dweight, const float *x, int64_t x_row, const float *dy,
    int64_t dy_row, float *room, int64_t part, int64_t n_parts,
) noexcept nogil:
    """dweight (k, n) OUT = the sum over shards, as a tree, of what `weight_gradient` makes of each."""
    cdef int64_t n_panels = n_panels_of(n), n_blocks = max(1, (k * shards.first[shards.n] + BLOCK - 1) // BLOCK)
    cdef int64_t unit = part_begin(n_blocks * n_panels, 1, part, n_parts), block, first, last, row, height, s, p
    cdef int64_t end = part_begin(n_blocks * n_panels, 1, part + 1, n_parts)
    while unit < end:
        block = unit // n_panels
        first = unit - block * n_panels
        last = min(n_panels, first + end - unit)
        row = k * block // n_blocks
        height = k * (block + 1) // n_blocks - row
        for s in range(shards.n):
            tile_pack_turned(
                room + BEFORE_BLOCK + shards.first[s] * height, x + place_of(shards, s, x_row) + row, rows_of(shards, s),
                height, x_row,
            )
        for p in range(first, last):
            panel_gradient_together(
                shards, height, min(n - p * TILE_COLUMNS, TILE_COLUMNS), dweight + row * n + p * TILE_COLUMNS, n,
                dy + p * TILE_COLUMNS, dy_row, room, p + 1 < last,
            )
        unit += last - first


cdef inline void panel_gradient_together(
    const Together *shards, int64_t height, int64_t columns, float *c, int64_t c_row, const float *dy, int64_t dy_row,
    float *room, bint goes_on,
) noexcept nogil:
    """C (height, columns) OUT, from the blocks in room; goes_on: another panel follows."""
    cdef int64_t n_tiles = n_tiles_of(height), t, r, n, s, rows, token
    cdef float *sums = room + SUMS
    cdef float *second = sums + LARGEST_TILE
    for s in range(shards.n):
        tile_pack(
            room + shards.first[s] * TILE_COLUMNS, dy + place_of(shards, s, dy_row), rows_of(shards, s), columns, dy_row, 1,
        )
    for t in range(n_tiles):
        r = height * t // n_tiles
        n = height * (t + 1) // n_tiles - r
        tile_expect(c + r * c_row, n, c_row)
        for s in range(shards.n):
            rows = rows_of(shards, s)
            if goes_on:
                token = rows * t // n_tiles
                tile_expect(
                    dy + place_of(shards, s, dy_row) + token * dy_row + TILE_COLUMNS, rows * (t + 1) // n_tiles - token,
                    dy_row,
                )
            tile_product(
                n, columns, rows, sums + level_before(s) * LARGEST_TILE, TILE_COLUMNS,
                room + BEFORE_BLOCK + shards.first[s] * height + r * rows, 1, n, room + shards.first[s] * TILE_COLUMNS,
                NULL, 0,
            )
            if s + 1 < shards.n:
                add_levels(sums, LARGEST_TILE, n * TILE_COLUMNS, s)
        add_levels(second, LARGEST_TILE, n * TILE_COLUMNS, (shards.n - 1) >> 1)  # all but the last addition
        tile_sum(n, columns, c + r * c_row, c_row, sums, second)
