"""The kernel of `attention` and `grouped_attention`: causal softmax attention of every head, by blocks of queries.

Kept between forward and backward are two numbers a row, the maximum and 1 / sum, from which the backward makes
the same probabilities again; so memory grows with T and not with T x T. The row is complete when it is
normalised (numerics rule 2: no rescaling as blocks go by, the block size would enter the bits), and a masked
term enters no chain: the diagonal's triangle has tiles of its own.
"""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.gemm cimport n_panels_of, n_tiles_of, pack_panels, panel_product, row_product_in_place
from cllm._kernels.heads cimport (
    C, DROPOUT, OUT, QUERIES, Head, drop_row, each_head, each_head_backward, n_blocks_of, score_gradients,
    softmax_rows, wide_of,
)
from cllm._kernels.op cimport Op, Shard
from cllm._kernels.simd cimport TILE_COLUMNS, tile_pack, tile_row, tile_then_lower, tile_upper_then


cdef int attention_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return each_head(op, shard, part, n_parts, head_forward)


cdef void last_row(const Op *op, const Shard *shard, const Head *head, float *out) noexcept nogil:
    """A decoder's token: out (HS,) of the last query alone, the same chains from keys and values as they lie."""
    cdef int64_t t = head.time, p, columns
    cdef float *scores = shard.scratch
    cdef float *panel = scores + head.wide
    for p in range(n_panels_of(t)):
        columns = min(t - p * TILE_COLUMNS, TILE_COLUMNS)
        tile_pack(panel, head.k + p * TILE_COLUMNS * head.kv_row, head.size, columns, 1, head.kv_row)
        tile_row(
            columns, head.size, scores + p * TILE_COLUMNS, head.q + (t - 1) * head.q_row, panel, TILE_COLUMNS, 0, NULL,
        )
    softmax_rows(head, scores, t - 1, t)
    row_product_in_place(head.size, t, out + (t - 1) * op.size[C], scores, head.v, head.kv_row)


cdef void head_forward(const Op *op, const Shard *shard, const Head *head, float *out) noexcept nogil:
    """out (T, HS) with row stride C, from row `first` on."""
    if head.time - shard.first == 1 and shard.first > 0:
        last_row(op, shard, head, out)
    else:
        rows_forward(op, shard, head, out)


cdef void rows_forward(const Op *op, const Shard *shard, const Head *head, float *out) noexcept nogil:
    cdef int64_t t = head.time, wide = head.wide, n = t - shard.first, n_blocks = n_blocks_of(n), block, begin, end, i
    cdef float *scores = shard.scratch
    cdef float *keys = scores + QUERIES * wide
    cdef float *values = keys + head.size * wide
    pack_panels(keys, head.k, head.size, t, 1, head.kv_row, 0, n_panels_of(t))
    pack_panels(values, head.v, t, head.size, head.kv_row, 1, 0, n_panels_of(head.size))
    for block in range(n_blocks):
        begin, end = shard.first + n * block // n_blocks, shard.first + n * (block + 1) // n_blocks
        scores_product(head, begin, end, scores, head.q, head.q_row, keys)
        softmax_rows(head, scores, begin, end)
        if op.number[DROPOUT] > 0.0:
            for i in range(begin, end):
                drop_row(op, shard, head, scores + (i - begin) * wide, i)
        rows_product(head, begin, end, out + begin * op.size[C], op.size[C], scores, values, False)


cdef void scores_product(
    const Head *head, int64_t begin, int64_t end, float *c, const float *a, int64_t a_row, const float *panels,
) noexcept nogil:
    """c (end - begin, wide) OUT: rows begin:end of a (T, HS) times panels (HS, T), as far as a row's panel of keys.

    A panel of keys is of use to queries from its first key on, so tiles of earlier ones are left out.
    """
    cdef int64_t rows = end - begin, n_tiles = n_tiles_of(rows), p, first
    for p in range(n_panels_of(end)):
        first = p * TILE_COLUMNS - begin
        panel_product(
            rows, min(end - p * TILE_COLUMNS, TILE_COLUMNS), head.size, c + p * TILE_COLUMNS, head.wide,
            a + begin * a_row, a_row, 1, panels + p * head.size * TILE_COLUMNS, NULL, 0,
            first * n_tiles // rows if first > 0 else 0, n_tiles,
        )


cdef void rows_product(
    const Head *head, int64_t begin, int64_t end, float *c, int64_t c_row, const float *a, const float *panels,
    bint add,
) noexcept nogil:
    """c (end - begin, HS) OUT or ADD: query i takes the keys j <= i of a (QUERIES, wide) times panels (T, HS)."""
    cdef int64_t rows = end - begin, n_tiles = n_tiles_of(rows), p, t, r, n, columns
    cdef const float *panel
    cdef float *tile
    for p in range(n_panels_of(head.size)):
        panel = panels + p * head.time * TILE_COLUMNS
        columns = min(head.size - p * TILE_COLUMNS, TILE_COLUMNS)
        for t in range(n_tiles):
            r = rows * t // n_tiles
            n = rows * (t + 1) // n_tiles - r
            tile = c + r * c_row + p * TILE_COLUMNS
            tile_then_lower(
                n, columns, begin + r, tile, c_row, a + r * head.wide, head.wide, 1, panel,
                tile if add else NULL, c_row,
            )


cdef int attention_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return each_head_backward(op, shard, part, n_parts, head_backward)


cdef void head_backward(
    const Op *op, const Shard *shard, const Head *head, const float *out, const float *dout,
) noexcept nogil:
    """dq, dk, dv (T, HS) of the head OUT or ADD."""
    cdef int64_t t = head.time, wide = head.wide, c = op.size[C], n_blocks = n_blocks_of(t), block, begin, end
    cdef float *scores = shard.scratch
    cdef float *dscores = scores + QUERIES * wide
    cdef float *keys = dscores + QUERIES * wide                    # (HS, T) and below, in panels
    cdef float *values = keys + head.size * wide
    cdef float *key_rows = values + head.size * wide               # (T, HS) in panels
    cdef float *query_rows = key_rows + t * wide_of(head.size)
    cdef float *dout_rows = query_rows + t * wide_of(head.size)
    pack_panels(keys, head.k, head.size, t, 1, head.kv_row, 0, n_panels_of(t))
    pack_panels(values, head.v, head.size, t, 1, head.kv_row, 0, n_panels_of(t))
    pack_panels(key_rows, head.k, t, head.size, head.kv_row, 1, 0, n_panels_of(head.size))
    pack_panels(query_rows, head.q, t, head.size, head.q_row, 1, 0, n_panels_of(head.size))
    pack_panels(dout_rows, dout, t, head.size, c, 1, 0, n_panels_of(head.size))
    for block in range(n_blocks):
        begin, end = t * block // n_blocks, t * (block + 1) // n_blocks
        scores_product(head, begin, end, scores, head.q, head.q_row, keys)
        scores_product(head, begin, end, dscores, dout, c, values)
        score_gradients(op, shard, head, begin, end, scores, dscores, out, dout)
        rows_product(head, begin, end, head.dq + begin * head.q_row, head.q_row, dscores, key_rows, head.add_q)
        columns_product(head, begin, end, head.dk, dscores, query_rows, head.add_k)
        columns_product(head, begin, end, head.dv, scores, dout_rows, head.add_v)


cdef void columns_product(
    const Head *head, int64_t begin, int64_t end, float *c, const float *a, const float *panels, bint add,
) noexcept nogil:
    """c (end, HS) OUT or ADD: key j takes the queries i >= j of a transposed times panels (T, HS).

    Keys before `begin` go on from what earlier queries gave them; the block's own keys start with its triangle.
    """
    cdef int64_t rows = end - begin, n_tiles = n_tiles_of(rows), p, t, r, n, columns
    cdef const float *panel
    cdef float *column
    cdef float *tile
    for p in range(n_panels_of(head.size)):
        panel = panels + (p * head.time + begin) * TILE_COLUMNS
        columns = min(head.size - p * TILE_COLUMNS, TILE_COLUMNS)
        column = c + p * TILE_COLUMNS
        panel_product(
            begin, columns, rows, column, head.kv_row, a, 1, head.wide, panel, column, head.kv_row,
            0, n_tiles_of(begin),
        )
        for t in range(n_tiles):
            r = rows * t // n_tiles
            n = rows * (t + 1) // n_tiles - r
            tile = column + (begin + r) * head.kv_row
            tile_upper_then(
                n, columns, rows - r - n, tile, head.kv_row, a + r * head.wide + begin + r, 1, head.wide,
                panel + r * TILE_COLUMNS, tile if add else NULL, head.kv_row,
            )


KERNELS = {
    "attention_forward": kernel_capsule(attention_forward),
    "attention_backward": kernel_capsule(attention_backward),
    "grouped_attention_forward": kernel_capsule(attention_forward),
    "grouped_attention_backward": kernel_capsule(attention_backward),
}
