"""The kernels of the ops `cross_entropy` (head and loss in one, by chunks of tokens) and `logits` (the head alone).

There are never more than CHUNK x V logits. In training the backward makes the logits once, and from them the
loss and both gradients, so the forward has nothing to do; in evaluation the forward stops at the loss. A token
that is not counted (target -1) enters no chain: counted rows are gathered before the products.

The backward in float32 takes several shards at once, of CHUNK tokens together (docs/decisions/0008-lockstep.md): their
logits and dx are those of one chunk, and the gradients of the head meet tile by tile.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from cllm._kernels.bf16 cimport Bf16, bf16_emulated, bf16_native, pair
from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.gemm cimport (
    Together, n_panels_of, product, row_product_in_place, rows_of, weight_gradient, weight_gradient_together,
)
from cllm._kernels.gemm_bf16 cimport product_bf16, weight_gradient_bf16
from cllm._kernels.op cimport (
    AGAIN, BAD_TOKEN, DONE, STOPPED, Op, Shard, adds_to, gradient_of, integers_of, packed_of, part_begin,
    transposed_of, value_of,
)
from cllm._kernels.simd cimport TILE_COLUMNS
from cllm._kernels.token_loss cimport cap_logits, token_loss

cdef enum:
    LOSS = 0
    X = 1
    TARGET = 2
    TOKEN_WEIGHT = 3
    HEAD = 4
    # size
    C = 0
    V = 1
    CHUNK = 256
    # logits
    Y = 0
    LOGITS_SOFTCAP = 0


cdef enum:
    # Of a backward each chunk takes these phases. Work on tokens is shared by tokens, a product by panels and tiles.
    GATHER     # x of the counted tokens
    PRODUCT    # logits
    LOSSES     # losses and dlogits
    GRADIENTS  # dx and dhead
    SCATTER    # dx to where the tokens came from
    N_PHASES


cdef struct Chunk:
    # Up to CHUNK counted tokens. Logits, x and dx are shared by all parts, and in a backward one phase leaves them to the
    # next.
    int64_t n
    int64_t[CHUNK] row           # their rows in the shard and those behind it, ascending
    Together shards              # which of the n belong to each of several shards
    int64_t begin, end           # those of the n that belong to this part
    int64_t wide                 # row stride of logits
    int64_t *next                # shared: the rows where the next even and the next odd chunk begin
    float *logits                # (CHUNK, wide); dlogits later
    float *x                     # (CHUNK, C) gathered
    float *dx                    # (CHUNK, C)
    const Bf16 *bf16             # NULL: products are in float32
    float *slope                 # (wide,), this thread's own: of a token's capped logits
    float *room                  # of products, this thread's own


cdef const Bf16 *bf16 = &bf16_emulated


def use_native(bint native):
    """Whether to multiply bfloat16 by the processor's own instruction, which changes no bit; returns whether it is built."""
    global bf16
    bf16 = &bf16_native if native else &bf16_emulated
    return &bf16_native != &bf16_emulated


cdef inline void lay_out(Chunk *chunk, const Op *op, const Shard *shard, float *room, const Bf16 *bf16) noexcept nogil:
    chunk.wide = (op.size[V] + 31) // 32 * 32    # room for a tail of lanes
    chunk.next = <int64_t *>room
    chunk.logits = room + 16
    chunk.x = chunk.logits + CHUNK * chunk.wide
    chunk.dx = chunk.x + CHUNK * op.size[C]
    chunk.bf16 = bf16
    chunk.slope = shard.scratch + (chunk.dx + CHUNK * op.size[C] - room)
    chunk.room = chunk.slope + chunk.wide


cdef inline int64_t find_counted(
    Chunk *chunk, const Op *op, const Shard *shard, int64_t row, int64_t end, int64_t part, int64_t n_parts,
) noexcept nogil:
    """Finds the next counted tokens of row:end. Returns where to go on."""
    cdef const int32_t *target = integers_of(op, shard, TARGET)
    cdef int64_t rows = shard.n_sequences * shard.time
    chunk.n = 0
    chunk.shards.n, chunk.shards.step = shard.n_together, 0
    while row < end and chunk.n < CHUNK:
        if row % rows == 0:
            chunk.shards.first[row // rows] = chunk.n
        if target[row] >= 0:
            chunk.row[chunk.n] = row
            chunk.n += 1
        row += 1
    chunk.shards.first[shard.n_together] = chunk.n
    chunk.begin, chunk.end = part_begin(chunk.n, 1, part, n_parts), part_begin(chunk.n, 1, part + 1, n_parts)
    return row


cdef inline int64_t place_of_row(const Shard *shard, int64_t row, int64_t c) noexcept nogil:
    """Where row `row` of the shard, or of those that go with it, begins in their activations (rows, C)."""
    cdef int64_t rows = shard.n_sequences * shard.time
    return row // rows * shard.together_step + row % rows * c


cdef inline void gather(Chunk *chunk, const Op *op, const Shard *shard) noexcept nogil:
    """The rows of x of the part's tokens. All parts may read them when all have met."""
    cdef const float *x = value_of(op, shard, X)
    cdef int64_t c = op.size[C], i
    for i in range(chunk.begin, chunk.end):
        memcpy(chunk.x + i * c, x + place_of_row(shard, chunk.row[i], c), c * sizeof(float))


cdef inline void clear_uncounted(const Op *op, const Shard *shard, int64_t row, int64_t end) noexcept nogil:
    """The losses of tokens that are not counted are +0."""
    cdef const int32_t *target = integers_of(op, shard, TARGET)
    cdef float *loss = value_of(op, shard, LOSS)
    for row in range(row, end):
        if target[row] < 0:
            loss[row] = 0.0


cdef inline void make_logits(
    const Chunk *chunk, const Op *op, const Shard *shard, int64_t part, int64_t n_parts,
) noexcept nogil:
    """Logits (n, V) of x; a part has its panels of head, so that each is read by one."""
    token_product(
        chunk, op.size[V], op.size[C], chunk.logits, chunk.wide, chunk.x, op.size[C], packed_of(op, shard, HEAD), False,
        part, n_parts,
    )


cdef inline int chunk_losses(Chunk *chunk, const Op *op, const Shard *shard, bint gradient) noexcept nogil:
    """The weighted loss of each token of the part; where `gradient`, logits become their own gradient."""
    cdef const int32_t *target = integers_of(op, shard, TARGET)
    cdef const float *weight = value_of(op, shard, TOKEN_WEIGHT)
    cdef float *loss = value_of(op, shard, LOSS)
    cdef int64_t i, row
    for i in range(chunk.begin, chunk.end):
        row = chunk.row[i]
        if target[row] >= op.size[V]:
            return BAD_TOKEN
        loss[row] = token_loss(
            op, chunk.logits + i * chunk.wide, op.size[V], target[row], weight[row], gradient, chunk.slope,
        )
    return DONE


cdef inline void token_product(
    const Chunk *chunk, int64_t columns, int64_t depth, float *c, int64_t c_row, const float *a, int64_t a_row,
    const float *panels, bint add, int64_t part, int64_t n_parts,
) noexcept nogil:
    """C (n, columns) OUT or ADD = A (n, depth) times panels."""
    cdef const float *start = c if add else NULL
    if chunk.bf16 != NULL:
        product_bf16(
            chunk.bf16, chunk.n, columns, depth, c, c_row, a, a_row, <const pair *>panels, start, c_row,
            <pair *>chunk.room, part, n_parts,
        )
    else:
        product(chunk.n, columns, depth, c, c_row, a, a_row, 1, panels, start, c_row, part, n_parts)


cdef int forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts, const Bf16 *bf16) noexcept nogil:
    """loss (rows,) OUT; x (rows, C), target (rows,) int32, token weight (rows,), head (V, C) in panels IN."""
    cdef int64_t rows = shard.n_sequences * shard.time, row = part_begin(rows, 1, part, n_parts)
    cdef int64_t end = part_begin(rows, 1, part + 1, n_parts)
    cdef Chunk chunk
    lay_out(&chunk, op, shard, shard.scratch, bf16)
    clear_uncounted(op, shard, row, end)
    while row < end:
        if shard.interrupted(shard):
            return STOPPED
        row = find_counted(&chunk, op, shard, row, end, 0, 1)
        gather(&chunk, op, shard)
        make_logits(&chunk, op, shard, 0, 1)
        if chunk_losses(&chunk, op, shard, False) != DONE:
            return BAD_TOKEN
    return DONE


cdef int backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts, const Bf16 *bf16) noexcept nogil:
    """loss (rows,) OUT, dx (rows, C), dhead (V, C) OUT or ADD; x, target, token weight, head IN."""
    cdef int64_t rows = shard.n_together * shard.n_sequences * shard.time, number = shard.phase // N_PHASES, begin, end
    cdef int phase = shard.phase % N_PHASES
    cdef Chunk chunk
    lay_out(&chunk, op, shard, shard.shared, bf16)
    if shard.phase == 0:
        prepare_rows(op, shard, part_begin(rows, 1, part, n_parts), part_begin(rows, 1, part + 1, n_parts))
    begin = chunk.next[number & 1] if number > 0 else 0
    end = find_counted(&chunk, op, shard, begin, rows, part, n_parts)
    if phase == GATHER:
        if part == 0:
            chunk.next[(number + 1) & 1] = end
        gather(&chunk, op, shard)
        if adds_to(op, X):
            gather_gradient(&chunk, op, shard)
    elif phase == PRODUCT:
        make_logits(&chunk, op, shard, part, n_parts)
    elif phase == LOSSES:
        return AGAIN if chunk_losses(&chunk, op, shard, True) == DONE else BAD_TOKEN
    elif phase == GRADIENTS:
        input_gradient(&chunk, op, shard, part, n_parts)
        head_gradient(&chunk, op, shard, number > 0 or adds_to(op, HEAD), part, n_parts)
        if shard.n_together > 1:
            rows_apart(&chunk, op, shard, part, n_parts)
    else:
        scatter_gradient(&chunk, op, shard)
        return AGAIN if end < rows else DONE
    return AGAIN


cdef inline void prepare_rows(const Op *op, const Shard *shard, int64_t row, int64_t end) noexcept nogil:
    """What tokens that are not counted have: a loss of +0, and a dx of +0 unless it is added to."""
    cdef const int32_t *target = integers_of(op, shard, TARGET)
    cdef int64_t c = op.size[C]
    clear_uncounted(op, shard, row, end)
    for row in range(row, end):
        if target[row] < 0 and not adds_to(op, X):
            memset(gradient_of(op, shard, X) + place_of_row(shard, row, c), 0, c * sizeof(float))


cdef inline void gather_gradient(Chunk *chunk, const Op *op, const Shard *shard) noexcept nogil:
    """What the part's tokens have as dx so far."""
    cdef const float *dx = gradient_of(op, shard, X)
    cdef int64_t c = op.size[C], i
    for i in range(chunk.begin, chunk.end):
        memcpy(chunk.dx + i * c, dx + place_of_row(shard, chunk.row[i], c), c * sizeof(float))


cdef inline void input_gradient(
    const Chunk *chunk, const Op *op, const Shard *shard, int64_t part, int64_t n_parts,
) noexcept nogil:
    """dx (n, C) = dlogits (n, V) times head (V, C); a part has its panels."""
    token_product(
        chunk, op.size[C], op.size[V], chunk.dx, op.size[C], chunk.logits, chunk.wide,
        transposed_of(op, shard, HEAD), adds_to(op, X), part, n_parts,
    )


cdef inline void scatter_gradient(Chunk *chunk, const Op *op, const Shard *shard) noexcept nogil:
    """The dx of the part's tokens is laid where they came from."""
    cdef float *dx = gradient_of(op, shard, X)
    cdef int64_t c = op.size[C], i
    for i in range(chunk.begin, chunk.end):
        memcpy(dx + place_of_row(shard, chunk.row[i], c), chunk.dx + i * c, c * sizeof(float))


cdef void head_gradient(
    Chunk *chunk, const Op *op, const Shard *shard, bint add, int64_t part, int64_t n_parts,
) noexcept nogil:
    """dhead (V, C) OUT or ADD = dlogits (n, V) transposed times x (n, C): chains over ascending tokens.

    Where no token of the shard is counted, a chain of none is +0.
    """
    cdef int64_t c = op.size[C], v = op.size[V], row
    cdef float *dhead = gradient_of(op, shard, HEAD)
    if dhead == NULL:
        return
    if shard.n_together > 1:
        weight_gradient_together(
            &chunk.shards, v, c, dhead, chunk.logits, chunk.wide, chunk.x, c, chunk.room, part, n_parts,
        )
        return
    if chunk.n == 0:
        row = part_begin(v, 1, part, n_parts)
        if not add:
            memset(dhead + row * c, 0, (part_begin(v, 1, part + 1, n_parts) - row) * c * sizeof(float))
        return
    if chunk.bf16 != NULL:
        weight_gradient_bf16(
            chunk.bf16, chunk.n, v, c, dhead, chunk.logits, chunk.wide, chunk.x, c, add, <pair *>chunk.room, part, n_parts,
        )
    else:
        weight_gradient(
            chunk.n, v, c, dhead, chunk.logits, chunk.wide, chunk.x, c, add, chunk.room, part, n_parts,
        )


cdef void rows_apart(
    const Chunk *chunk, const Op *op, const Shard *shard, int64_t part, int64_t n_parts,
) noexcept nogil:
    """Of each shard, the part's share of the rows of dhead that are kept apart OUT: the same chains, made once more."""
    cdef int64_t c = op.size[C], s, j, i, first, n
    cdef float[CHUNK] dlogits
    for s in range(shard.n_together):
        first, n = chunk.shards.first[s], rows_of(&chunk.shards, s)
        for j in range(part_begin(shard.n_apart, 1, part, n_parts), part_begin(shard.n_apart, 1, part + 1, n_parts)):
            for i in range(n):
                dlogits[i] = chunk.logits[(first + i) * chunk.wide + shard.apart[j]]
            row_product_in_place(c, n, shard.own + s * shard.own_step + j * c, dlogits, chunk.x + first * c, c)


cdef int logits_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (V,) OUT: the logits of the last row alone; x (rows, C), head (V, C) in panels IN."""
    cdef int64_t last = shard.n_sequences * shard.time - 1
    product(
        1, op.size[V], op.size[C], value_of(op, shard, Y), op.size[V], value_of(op, shard, X) + last * op.size[C],
        op.size[C], 1, packed_of(op, shard, 2), NULL, 0, part, n_parts,
    )
    cap_part(op, shard, part, n_parts)
    return DONE


cdef int logits_bf16_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """As logits_forward, by products in bfloat16."""
    cdef int64_t last = shard.n_sequences * shard.time - 1
    product_bf16(
        bf16, 1, op.size[V], op.size[C], value_of(op, shard, Y), op.size[V],
        value_of(op, shard, X) + last * op.size[C], op.size[C], <const pair *>packed_of(op, shard, 2), NULL, 0,
        <pair *>shard.scratch, part, n_parts,
    )
    cap_part(op, shard, part, n_parts)
    return DONE


cdef inline void cap_part(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """Of one row a part's share of a product are whole panels."""
    cdef int64_t n_panels = n_panels_of(op.size[V]), begin = part_begin(n_panels, 1, part, n_parts) * TILE_COLUMNS
    cdef int64_t end = min(op.size[V], part_begin(n_panels, 1, part + 1, n_parts) * TILE_COLUMNS)
    if op.number[LOGITS_SOFTCAP] > 0.0 and begin < end:
        cap_logits(value_of(op, shard, Y) + begin, NULL, end - begin, <float>op.number[LOGITS_SOFTCAP])


cdef int cross_entropy_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return forward(op, shard, part, n_parts, NULL)


cdef int cross_entropy_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, NULL)


cdef int cross_entropy_bf16_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return forward(op, shard, part, n_parts, bf16)


cdef int cross_entropy_bf16_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, bf16)


KERNELS = {
    "cross_entropy_bf16_forward": kernel_capsule(cross_entropy_bf16_forward),
    "cross_entropy_bf16_backward": kernel_capsule(cross_entropy_bf16_backward),
    "logits_bf16_forward": kernel_capsule(logits_bf16_forward),
    "cross_entropy_forward": kernel_capsule(cross_entropy_forward),
    "cross_entropy_backward": kernel_capsule(cross_entropy_backward),
    "logits_forward": kernel_capsule(logits_forward),
}
