"""The kernels of the ops `embedding` (a row per token) and `position` (a row per place in the sequence)."""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.op cimport (
    BAD_TOKEN, DONE, Op, Shard, adds_to, gradient_of, integers_of, part_begin, position_of, value_of,
)
from cllm._kernels.sums cimport add_to, pass_on
from cllm._kernels.simd cimport f16_add, f16_load_n, f16_store_n

cdef enum:
    Y = 0
    # embedding
    TOKEN = 1
    TABLE = 2
    # position
    X = 1
    ROWS = 2
    # size
    C = 0
    V = 1   # rows of the table: vocabulary or block size


cdef int embedding_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (rows, C) OUT; token (rows,) int32, table (V, C) IN."""
    cdef int64_t c = op.size[C], n = shard.n_sequences * shard.time - shard.first, row
    cdef const int32_t *token = integers_of(op, shard, TOKEN)
    cdef const float *table = value_of(op, shard, TABLE)
    cdef float *y = value_of(op, shard, Y)
    for row in range(shard.first + part_begin(n, 1, part, n_parts), shard.first + part_begin(n, 1, part + 1, n_parts)):
        if token[row] < 0 or token[row] >= op.size[V]:
            return BAD_TOKEN
        memcpy(y + row * c, table + token[row] * c, c * sizeof(float))
    return DONE


cdef int embedding_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dtable (V, C) OUT or ADD: each row of dy is added to its token's row, tokens ascending; parts share columns."""
    cdef int64_t c = op.size[C], rows = shard.n_sequences * shard.time, row
    cdef int64_t begin = part_begin(c, 16, part, n_parts), end = part_begin(c, 16, part + 1, n_parts)
    cdef const int32_t *token = integers_of(op, shard, TOKEN)
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef float *dtable = gradient_of(op, shard, TABLE)
    if dtable == NULL:
        return DONE
    if not adds_to(op, TABLE):
        for row in range(op.size[V]):
            memset(dtable + row * c + begin, 0, (end - begin) * sizeof(float))
    for row in range(rows):
        add_to(dtable + token[row] * c + begin, dy + row * c + begin, end - begin)
    return DONE


cdef int position_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (rows, C) OUT = x (rows, C) + the table's row (V, C) of the row's place in its document, both IN."""
    cdef int64_t c = op.size[C], n = shard.n_sequences * shard.time - shard.first, row, i
    cdef const float *x = value_of(op, shard, X)
    cdef const float *table = value_of(op, shard, ROWS)
    cdef const float *place
    cdef float *y = value_of(op, shard, Y)
    for row in range(shard.first + part_begin(n, 1, part, n_parts), shard.first + part_begin(n, 1, part + 1, n_parts)):
        place = table + position_of(shard, row) * c
        for i in range(0, c, 16):
            f16_store_n(
                y + row * c + i, f16_add(f16_load_n(x + row * c + i, c - i), f16_load_n(place + i, c - i)), c - i,
            )
    return DONE


cdef int position_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dx (rows, C), dtable (V, C) OUT or ADD; a place's row is one chain over ascending rows, from +0."""
    cdef int64_t c = op.size[C], rows = shard.n_sequences * shard.time, row, place
    cdef int64_t first = part_begin(op.size[V], 1, part, n_parts), last = part_begin(op.size[V], 1, part + 1, n_parts)
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef float *dx = gradient_of(op, shard, X)
    cdef float *dtable = gradient_of(op, shard, ROWS)
    cdef int64_t begin = part_begin(rows, 1, part, n_parts) * c, end = part_begin(rows, 1, part + 1, n_parts) * c
    if dx != NULL:
        pass_on(dx + begin, dy + begin, end - begin, adds_to(op, X))
    if dtable == NULL:
        return DONE
    if not adds_to(op, ROWS):
        memset(dtable + first * c, 0, (last - first) * c * sizeof(float))
    for row in range(rows):
        place = position_of(shard, row)
        if first <= place < last:
            add_to(dtable + place * c, dy + row * c, c)
    return DONE


KERNELS = {
    "embedding_forward": kernel_capsule(embedding_forward),
    "embedding_backward": kernel_capsule(embedding_backward),
    "position_forward": kernel_capsule(position_forward),
    "position_backward": kernel_capsule(position_backward),
}
