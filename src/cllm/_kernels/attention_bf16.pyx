"""The kernel of `attention_bf16` and `grouped_attention_bf16`: products in bfloat16 (numerics rule 12), not softmax.

Scores are made of q and k along their channels; out, dq, dk and dv of pairs of keys or queries, which are counted from
the sequence's first. Where a row's causal triangle begins or ends within a pair, its other half enters no chain.
"""

from libc.stdint cimport int64_t

from cllm._kernels.bf16 cimport (
    Bf16, Bf16Triangles, bf16_emulated, bf16_emulated_triangles, bf16_native, bf16_native_triangles, pair,
)
from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.gemm cimport n_panels_of, n_tiles_of
from cllm._kernels.gemm_bf16 cimport n_pairs_of, pack_pairs, tiles_of_pairs
from cllm._kernels.heads cimport (
    C, DROPOUT, OUT, QUERIES, Head, drop_row, each_head, each_head_backward, score_gradients, softmax_rows, wide_of,
)
from cllm._kernels.op cimport Op, Shard
from cllm._kernels.simd cimport TILE_COLUMNS

cdef const Bf16 *bf16 = &bf16_emulated
cdef const Bf16Triangles *triangles = &bf16_emulated_triangles


def use_native(bint native):
    """Whether to multiply bfloat16 by the processor's own instruction, which changes no bit; returns whether it is built."""
    global bf16, triangles
    bf16 = &bf16_native if native else &bf16_emulated
    triangles = &bf16_native_triangles if native else &bf16_emulated_triangles
    return &bf16_native != &bf16_emulated


cdef struct Room:
    # Scratch of one head; panels are of pairs.
    float *scores                # (QUERIES, wide)
    float *dscores               # (QUERIES, wide)
    pair *rows                   # (QUERIES, pairs) of what is on the left of a product
    pair *keys                   # k transposed (HS, T)
    pair *values                 # v (T, HS) forward; transposed backward
    pair *key_rows               # (T, HS), and so on
    pair *query_rows
    pair *dout_rows


cdef inline Room room_of(const Head *head, float *scratch) noexcept nogil:
    """ops/attention.py counts the same."""
    cdef Room room
    cdef int64_t panels = n_pairs_of(head.size) * wide_of(head.time)      # of a (HS, T)
    cdef int64_t row_panels = n_pairs_of(head.time) * wide_of(head.size)  # of a (T, HS)
    room.scores = scratch
    room.dscores = room.scores + QUERIES * head.wide
    room.rows = <pair *>(room.dscores + QUERIES * head.wide)
    room.keys = room.rows + QUERIES * (head.wide + wide_of(head.size))
    room.values = room.keys + panels
    room.key_rows = room.values + (panels if panels > row_panels else row_panels)
    room.query_rows = room.key_rows + row_panels
    room.dout_rows = room.query_rows + row_panels
    return room


cdef inline int64_t block_end(int64_t begin, int64_t time) noexcept nogil:
    """Blocks begin at even queries, so that no pair is in two of them."""
    return min(begin + QUERIES, time)


cdef int attention_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return each_head(op, shard, part, n_parts, head_forward)


cdef void head_forward(const Op *op, const Shard *shard, const Head *head, float *out) noexcept nogil:
    """out (T, HS) with row stride C, from row `first` on."""
    cdef Room room = room_of(head, shard.scratch)
    cdef int64_t t = head.time, begin = shard.first, end, i
    pack_pairs(bf16, room.keys, head.k, head.size, t, 1, head.kv_row, 0, n_panels_of(t))
    pack_pairs(bf16, room.values, head.v, t, head.size, head.kv_row, 1, 0, n_panels_of(head.size))
    while begin < t:
        end = block_end(begin, t)
        scores_product(head, begin, end, room.scores, head.q, head.q_row, room.keys, room.rows)
        softmax_rows(head, room.scores, begin, end)
        if op.number[DROPOUT] > 0.0:
            for i in range(begin, end):
                drop_row(op, shard, head, room.scores + (i - begin) * head.wide, i)
        rows_product(
            head, begin, end, out + begin * op.size[C], op.size[C], room.scores, room.values, room.rows, False,
        )
        begin = end


cdef void scores_product(
    const Head *head, int64_t begin, int64_t end, float *c, const float *a, int64_t a_row, const pair *panels, pair *rows,
) noexcept nogil:
    """c (end - begin, wide) OUT: rows begin:end of a (T, HS) times panels (HS, T), as far as a row's panel of keys."""
    cdef int64_t n = end - begin, n_tiles = n_tiles_of(n), n_pairs = n_pairs_of(head.size), p, first
    bf16.along(rows, a + begin * a_row, n, head.size, a_row)
    for p in range(n_panels_of(end)):
        first = p * TILE_COLUMNS - begin
        tiles_of_pairs(
            bf16, n, min(end - p * TILE_COLUMNS, TILE_COLUMNS), n_pairs, c + p * TILE_COLUMNS, head.wide, rows, n_pairs, 1,
            panels + p * n_pairs * TILE_COLUMNS, NULL, 0, first * n_tiles // n if first > 0 else 0, n_tiles,
        )


cdef void rows_product(
    const Head *head, int64_t begin, int64_t end, float *c, int64_t c_row, const float *a, const pair *panels, pair *rows,
    bint add,
) noexcept nogil:
    """c (end - begin, HS) OUT or ADD: query i takes the keys j <= i of a (QUERIES, wide) times panels (T, HS)."""
    cdef int64_t n = end - begin, n_tiles = n_tiles_of(n), n_pairs = n_pairs_of(end), p, t, r, first
    cdef const pair *panel
    cdef float *tile
    bf16.along(rows, a, n, end, head.wide)
    for p in range(n_panels_of(head.size)):
        panel = panels + p * n_pairs_of(head.time) * TILE_COLUMNS
        for t in range(n_tiles):
            r = n * t // n_tiles
            first = begin + r
            tile = c + r * c_row + p * TILE_COLUMNS
            triangles.then_lower[first & 1](
                n * (t + 1) // n_tiles - r, min(head.size - p * TILE_COLUMNS, TILE_COLUMNS), n_pairs_of(first), tile, c_row,
                rows + r * n_pairs, n_pairs, 1, panel, tile if add else NULL, c_row,
            )


cdef int attention_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return each_head_backward(op, shard, part, n_parts, head_backward)


cdef void head_backward(
    const Op *op, const Shard *shard, const Head *head, const float *out, const float *dout,
) noexcept nogil:
    """dq, dk, dv (T, HS) of the head OUT or ADD."""
    cdef Room room = room_of(head, shard.scratch)
    cdef int64_t t = head.time, c = op.size[C], begin = 0, end
    pack_pairs(bf16, room.keys, head.k, head.size, t, 1, head.kv_row, 0, n_panels_of(t))
    pack_pairs(bf16, room.values, head.v, head.size, t, 1, head.kv_row, 0, n_panels_of(t))
    pack_pairs(bf16, room.key_rows, head.k, t, head.size, head.kv_row, 1, 0, n_panels_of(head.size))
    pack_pairs(bf16, room.query_rows, head.q, t, head.size, head.q_row, 1, 0, n_panels_of(head.size))
    pack_pairs(bf16, room.dout_rows, dout, t, head.size, c, 1, 0, n_panels_of(head.size))
    while begin < t:
        end = block_end(begin, t)
        scores_product(head, begin, end, room.scores, head.q, head.q_row, room.keys, room.rows)
        scores_product(head, begin, end, room.dscores, dout, c, room.values, room.rows)
        score_gradients(op, shard, head, begin, end, room.scores, room.dscores, out, dout)
        rows_product(
            head, begin, end, head.dq + begin * head.q_row, head.q_row, room.dscores, room.key_rows, room.rows,
            head.add_q,
        )
        columns_product(head, begin, end, head.dk, room.dscores, room.query_rows, room.rows, head.add_k)
        columns_product(head, begin, end, head.dv, room.scores, room.dout_rows, room.rows, head.add_v)
        begin = end


cdef void columns_product(
    const Head *head, int64_t begin, int64_t end, float *c, const float *a, const pair *panels, pair *rows, bint add,
) noexcept nogil:
    """c (end, HS) OUT or ADD: key j takes the queries i >= j of a transposed times panels (T, HS).

    Keys before `begin` go on from what earlier queries gave them; the block's own keys start with its triangle.
    """
    cdef int64_t n = end - begin, n_tiles = n_tiles_of(n), n_pairs = n_pairs_of(n), p, t, r, height, columns, first
    cdef const pair *panel
    cdef float *column
    cdef float *tile
    bf16.across(rows, head.wide, a, n, end, head.wide)
    for p in range(n_panels_of(head.size)):
        panel = panels + (p * n_pairs_of(head.time) + begin // 2) * TILE_COLUMNS
        columns = min(head.size - p * TILE_COLUMNS, TILE_COLUMNS)
        column = c + p * TILE_COLUMNS
        tiles_of_pairs(
            bf16, begin, columns, n_pairs, column, head.kv_row, rows, 1, head.wide, panel, column, head.kv_row,
            0, n_tiles_of(begin),
        )
        for t in range(n_tiles):
            r = n * t // n_tiles
            height = n * (t + 1) // n_tiles - r
            first = r // 2
            tile = column + (begin + r) * head.kv_row
            triangles.upper_then[r & 1](
                height, columns, n_pairs - first - n_pairs_of(height), tile, head.kv_row,
                rows + first * head.wide + begin + r, 1, head.wide, panel + first * TILE_COLUMNS,
                tile if add else NULL, head.kv_row,
            )


KERNELS = {
    "attention_bf16_forward": kernel_capsule(attention_forward),
    "attention_bf16_backward": kernel_capsule(attention_backward),
    "grouped_attention_bf16_forward": kernel_capsule(attention_forward),
    "grouped_attention_bf16_backward": kernel_capsule(attention_backward),
}
