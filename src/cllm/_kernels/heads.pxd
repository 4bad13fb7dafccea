"""What the kernels of attention share besides their products: the heads and their places, the softmax of a block."""

from libc.stdint cimport int64_t

from cllm._kernels.masks cimport drop
from cllm._kernels.op cimport DONE, STOPPED, Op, Shard, adds_to, document_end, gradient_of, part_begin, value_of
from cllm._kernels.rows cimport scale_row
from cllm._kernels.simd cimport (
    f16, f16_add, f16_exp, f16_first, f16_fma, f16_largest, f16_load, f16_load_n, f16_max, f16_mul, f16_set1, f16_store,
    f16_sub, f16_sum,
)

cdef extern from "math.h" nogil:
    const float INFINITY

cdef enum:
    OUT = 0
    MAXIMUM = 1
    INVERSE = 2
    QKV = 3
    # of grouped_attention, which has keys and values of fewer heads
    Q = 3
    K = 4
    V = 5
    # size
    C = 0
    N_HEAD = 1
    N_KV_HEAD = 2
    # number
    SCALE = 0
    DROPOUT = 1
    # The most queries that are worked on together: their scores (QUERIES, T) stay in the second-level cache.
    QUERIES = 64
    # And of which the softmax is: up to 1,000 keys their rows stay in the first-level cache.
    TOGETHER = 8


cdef struct Head:
    # One head of one document in a sequence, which is all of it where documents are not told apart.
    int64_t time, size, wide             # its tokens T, HS, row stride of scores
    int64_t q_row, kv_row                # row strides of q and dq, and of k, v, dk and dv; out has C
    int64_t sample, first_element, mask_row  # of the dropout mask, which is that of the whole sequence
    float scale
    const float *q
    const float *k
    const float *v
    float *maximum                       # (T,)
    float *inverse                       # (T,)
    float *dq                            # all (T, HS), as add_q and so on say OUT or ADD
    float *dk
    float *dv
    bint add_q, add_k, add_v


cdef inline int64_t wide_of(int64_t n) noexcept nogil:
    """Row stride of scratch: a multiple of every panel and of 16 lanes, so that a tail has room."""
    return (n + 31) // 32 * 32


cdef inline Head head_of(const Op *op, const Shard *shard, int64_t sequence, int64_t h) noexcept nogil:
    """Head h of the queries, with the keys and values that it shares with its neighbours."""
    cdef Head head
    cdef int64_t c = op.size[C], n_head = op.size[N_HEAD], n_kv = op.size[N_KV_HEAD], row = sequence * shard.time
    head.time = shard.time
    head.size = c // n_head
    head.wide = wide_of(shard.time)
    head.sample = shard.sequence + sequence
    head.first_element = h * shard.time * shard.time
    head.mask_row = shard.time
    head.scale = <float>op.number[SCALE]
    if is_grouped(op, shard):
        head.q_row, head.kv_row = c, n_kv * head.size
        head.k = value_of(op, shard, K) + row * head.kv_row + h * n_kv // n_head * head.size
        head.v = value_of(op, shard, V) + (head.k - value_of(op, shard, K))
        head.q = value_of(op, shard, Q) + row * head.q_row + h * head.size
    else:
        head.q_row, head.kv_row = 3 * c, 3 * c
        head.q = value_of(op, shard, QKV) + row * head.q_row + h * head.size
        head.k = head.q + c
        head.v = head.k + c
    head.maximum = value_of(op, shard, MAXIMUM) + (sequence * n_head + h) * shard.time
    head.inverse = value_of(op, shard, INVERSE) + (sequence * n_head + h) * shard.time
    return head


cdef inline bint is_grouped(const Op *op, const Shard *shard) noexcept nogil:
    """Whether q, k and v are three buffers, and not thirds of the rows of one."""
    return value_of(op, shard, K) != NULL


cdef inline void find_gradients(Head *head, const Op *op, const Shard *shard, bint is_first) noexcept nogil:
    """is_first: of the heads that share keys and values; the others add to what it has begun."""
    cdef int64_t c = op.size[C]
    head.dq = gradient_of(op, shard, Q) + (head.q - value_of(op, shard, Q))
    head.add_q = adds_to(op, Q)
    if is_grouped(op, shard):
        head.dk = gradient_of(op, shard, K) + (head.k - value_of(op, shard, K))
        head.dv = gradient_of(op, shard, V) + (head.v - value_of(op, shard, V))
        head.add_k, head.add_v = adds_to(op, K) or not is_first, adds_to(op, V) or not is_first
    else:
        head.dk = head.dq + c
        head.dv = head.dk + c
        head.add_k, head.add_v = head.add_q, head.add_q


cdef inline int64_t out_offset(const Op *op, const Shard *shard, int64_t sequence, int64_t h) noexcept nogil:
    return sequence * shard.time * op.size[C] + h * (op.size[C] // op.size[N_HEAD])


ctypedef void (*HeadForward)(const Op *op, const Shard *shard, const Head *head, float *out) noexcept nogil
ctypedef void (*HeadBackward)(
    const Op *op, const Shard *shard, const Head *head, const float *out, const float *dout,
) noexcept nogil


cdef inline Head document_of(const Head *whole, int64_t begin, int64_t end) noexcept nogil:
    """The head of tokens begin:end of a sequence: it sees no others, and its bits are those that it has alone."""
    cdef Head head = whole[0]
    head.time, head.wide = end - begin, wide_of(end - begin)
    head.first_element += begin * (head.mask_row + 1)
    head.q, head.k, head.v = head.q + begin * head.q_row, head.k + begin * head.kv_row, head.v + begin * head.kv_row
    head.maximum, head.inverse = head.maximum + begin, head.inverse + begin
    return head


cdef inline int each_head(
    const Op *op, const Shard *shard, int64_t part, int64_t n_parts, HeadForward run,
) noexcept nogil:
    """out (rows, C), maximum (B, NH, T), inverse (B, NH, T) OUT; q, k, v IN: (rows, 3C), or (rows, C) and narrower."""
    cdef int64_t n_head = op.size[N_HEAD], n_units = shard.n_sequences * n_head, unit, begin, end
    cdef Head whole, head
    cdef float *out
    for unit in range(part_begin(n_units, 1, part, n_parts), part_begin(n_units, 1, part + 1, n_parts)):
        whole = head_of(op, shard, unit // n_head, unit % n_head)
        out = value_of(op, shard, OUT) + out_offset(op, shard, unit // n_head, unit % n_head)
        begin = 0
        while begin < shard.time:
            if shard.interrupted(shard):
                return STOPPED
            end = document_end(shard, unit // n_head, begin)
            head = document_of(&whole, begin, end)
            run(op, shard, &head, out + begin * op.size[C])
            begin = end
    return DONE


cdef inline int each_head_backward(
    const Op *op, const Shard *shard, int64_t part, int64_t n_parts, HeadBackward run,
) noexcept nogil:
    """dq, dk, dv OUT or ADD; dout, out (rows, C), maximum, inverse (B, NH, T), q, k, v IN.

    Heads that share keys and values belong to one part: one after the other they go on with dk and dv.
    """
    cdef int64_t n_kv = op.size[N_KV_HEAD], group = op.size[N_HEAD] // n_kv, n_units = shard.n_sequences * n_kv, unit
    cdef int64_t sequence, h, first, offset, begin, end
    cdef Head whole, head
    for unit in range(part_begin(n_units, 1, part, n_parts), part_begin(n_units, 1, part + 1, n_parts)):
        sequence, first = unit // n_kv, unit % n_kv * group
        for h in range(first, first + group):
            whole = head_of(op, shard, sequence, h)
            begin = 0
            while begin < shard.time:
                if shard.interrupted(shard):
                    return STOPPED
                end = document_end(shard, sequence, begin)
                head = document_of(&whole, begin, end)
                find_gradients(&head, op, shard, h == first)
                offset = out_offset(op, shard, sequence, h) + begin * op.size[C]
                run(op, shard, &head, value_of(op, shard, OUT) + offset, gradient_of(op, shard, OUT) + offset)
                begin = end
    return DONE


cdef inline int64_t n_blocks_of(int64_t n_queries) noexcept nogil:
    return (n_queries + QUERIES - 1) // QUERIES


cdef inline void drop_row(const Op *op, const Shard *shard, const Head *head, float *row, int64_t i) noexcept nogil:
    drop(
        op, shard, head.sample, head.first_element + i * head.mask_row, i + 1, row, row, op.number[DROPOUT], False,
    )


cdef inline void softmax_rows(const Head *head, float *scores, int64_t begin, int64_t end) noexcept nogil:
    """Queries begin:end, scores (end - begin, wide), of the keys up to each become probabilities.

    A few rows take each of the three steps together: a row alone would wait for its own maximum and sum.
    """
    cdef int64_t first = begin, last, i
    while first < end:
        last = min(first + TOGETHER, end)
        for i in range(first, last):
            head.maximum[i] = largest_score(scores + (i - begin) * head.wide, i + 1) * head.scale
        for i in range(first, last):
            head.inverse[i] = <float>1.0 / exponentials(head, scores + (i - begin) * head.wide, i)
        for i in range(first, last):
            scale_row(scores + (i - begin) * head.wide, i + 1, head.inverse[i])
        first = last


cdef inline float largest_score(float *row, int64_t n) noexcept nogil:
    """The largest of row (n,), which is filled up to whole registers with what exp makes +0 of.

    The scale is positive, so the largest scaled score is the scaled largest score, to the bit.
    """
    cdef int64_t tail = (n - 1) // 16 * 16, j
    cdef f16 largest
    f16_store(row + tail, f16_first(f16_load(row + tail), n - tail, -INFINITY))
    largest = f16_load(row)
    for j in range(16, n, 16):
        largest = f16_max(largest, f16_load(row + j))
    return f16_largest(largest)


cdef inline float exponentials(const Head *head, float *row, int64_t i) noexcept nogil:
    """Query i's scores become e^(score - maximum); returns their sum."""
    cdef f16 total = f16_set1(0.0), scale = f16_set1(head.scale), maximum = f16_set1(head.maximum[i]), e
    cdef int64_t j
    for j in range(0, i + 1, 16):
        e = f16_exp(f16_sub(f16_mul(f16_load(row + j), scale), maximum))
        total = f16_add(total, e)
        f16_store(row + j, e)
    return f16_sum(total)


cdef inline void score_gradients(
    const Op *op, const Shard *shard, const Head *head, int64_t begin, int64_t end,
    float *scores, float *dscores, const float *out, const float *dout,
) noexcept nogil:
    """scores become the probabilities that were applied; dscores, dout · v so far, the gradient of q · k."""
    cdef int64_t i, c = op.size[C]
    cdef float *row
    cdef float *drow
    for i in range(begin, end):
        row = scores + (i - begin) * head.wide
        drow = dscores + (i - begin) * head.wide
        probabilities_again(head, row, i)
        if op.number[DROPOUT] > 0.0:
            drop_row(op, shard, head, drow, i)
        softmax_gradient(drow, row, i + 1, dot(out + i * c, dout + i * c, head.size), head.scale)
        if op.number[DROPOUT] > 0.0:
            drop_row(op, shard, head, row, i)


cdef inline void probabilities_again(const Head *head, float *row, int64_t i) noexcept nogil:
    """The forward's operations on the forward's maximum and 1 / sum: the same bits."""
    cdef f16 scale = f16_set1(head.scale), maximum = f16_set1(head.maximum[i]), e
    # The difference is 0, but of an infinite maximum NaN: e would be 0, and nobody would see it (numerics rule 10).
    cdef f16 inverse = f16_set1(head.inverse[i] + (head.maximum[i] - head.maximum[i]))
    cdef int64_t j
    for j in range(0, i + 1, 16):
        e = f16_exp(f16_sub(f16_mul(f16_load(row + j), scale), maximum))
        f16_store(row + j, f16_mul(e, inverse))


cdef inline void softmax_gradient(float *d, const float *p, int64_t n, float mean, float scale) noexcept nogil:
    """d (n,) becomes p * (d - mean) * scale; mean = sum of p * d, which is out · dout."""
    cdef int64_t j
    cdef f16 m = f16_set1(mean), s = f16_set1(scale)
    for j in range(0, n, 16):
        f16_store(d + j, f16_mul(f16_mul(f16_sub(f16_load(d + j), m), f16_load(p + j)), s))


cdef inline float dot(const float *a, const float *b, int64_t n) noexcept nogil:
    cdef f16 total = f16_set1(0.0)
    cdef int64_t i
    for i in range(0, n, 16):
        total = f16_fma(f16_load_n(a + i, n - i), f16_load_n(b + i, n - i), total)
    return f16_sum(total)
