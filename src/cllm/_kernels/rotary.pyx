"""The kernels of the ops `rotary_table`, cosines and sines of positions, and `rotary`, which turns pairs of channels."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, part_begin, position_of, value_of
from cllm._kernels.simd cimport f16, f16_add, f16_load_n, f16_mul, f16_set1, f16_store_n, f16_sub

cdef extern from "mathd.h" nogil:
    double d_sin(double x)
    double d_cos(double x)
    double d_pow(double x, double y)

cdef enum:
    Y = 0
    # of rotary
    X = 1
    TABLE = 2
    # size
    C = 0
    HEAD_SIZE = 1
    TABLE_WIDTH = 0
    # number
    THETA = 0
    # Positions are a multiple of STRIDE and a rest: of both there are few, and sin and cos are dear.
    STRIDE = 16


cdef struct Turn:
    # e^(i angle)
    double cos
    double sin


cdef inline Turn turn_of(double angle) noexcept nogil:
    cdef Turn turn
    turn.cos = d_cos(angle)
    turn.sin = d_sin(angle)
    return turn


cdef int rotary_table_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (rows, head size) OUT: cos and sin of the position times theta^(-2i / head size), each for i below half of it."""
    cdef int64_t rows = shard.n_sequences * shard.time - shard.first, half = op.size[TABLE_WIDTH] // 2, width = 2 * half
    cdef int64_t begin = shard.first + part_begin(rows, 1, part, n_parts)
    cdef int64_t end = shard.first + part_begin(rows, 1, part + 1, n_parts), i, row
    cdef int64_t last = end if shard.positions != NULL else min(end, begin + shard.time)  # then no position comes twice
    cdef float *y = value_of(op, shard, Y)
    for i in range(half):
        column_of_turns(y + i, half, width, d_pow(op.number[THETA], -<double>i / <double>half), shard, begin, last)
    for row in range(last, end):
        memcpy(y + row * width, y + (row - shard.time) * width, width * sizeof(float))
    return DONE


cdef void column_of_turns(
    float *y, int64_t half, int64_t width, double frequency, const Shard *shard, int64_t begin, int64_t end,
) noexcept nogil:
    """Of one frequency, rows begin:end, in float64: products of two turns."""
    cdef Turn[16] rest
    cdef Turn coarse
    cdef int64_t row, position, of = -1, k
    cdef bint[16] is_known
    for k in range(STRIDE):
        is_known[k] = False
    for row in range(begin, end):
        position = position_of(shard, row)
        k = position % STRIDE
        if not is_known[k]:
            rest[k] = turn_of(<double>k * frequency)
            is_known[k] = True
        if position - k != of:
            of = position - k
            coarse = turn_of(<double>of * frequency)
        y[row * width] = <float>(coarse.cos * rest[k].cos - coarse.sin * rest[k].sin)
        y[row * width + half] = <float>(coarse.sin * rest[k].cos + coarse.cos * rest[k].sin)


cdef int rotary_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y (rows, C) OUT; x (rows, C), table (rows, head size) IN."""
    cdef int64_t rows = shard.n_sequences * shard.time - shard.first
    turn_rows(
        op, value_of(op, shard, Y), value_of(op, shard, X), value_of(op, shard, TABLE), 1.0, False,
        shard.first + part_begin(rows, 1, part, n_parts), shard.first + part_begin(rows, 1, part + 1, n_parts),
    )
    return DONE


cdef int rotary_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dx (rows, C) OUT or ADD; dy (rows, C), table (rows, head size) IN: turned back."""
    cdef int64_t rows = shard.n_sequences * shard.time
    turn_rows(
        op, gradient_of(op, shard, X), gradient_of(op, shard, Y), value_of(op, shard, TABLE), -1.0, adds_to(op, X),
        part_begin(rows, 1, part, n_parts), part_begin(rows, 1, part + 1, n_parts),
    )
    return DONE


cdef void turn_rows(
    const Op *op, float *y, const float *x, const float *table, float direction, bint add, int64_t begin, int64_t end,
) noexcept nogil:
    """Rows begin:end of y OUT or ADD; each head's first half against its second."""
    cdef int64_t c = op.size[C], size = op.size[HEAD_SIZE], half = size // 2, row, head, i, n, place
    cdef f16 cos, sin, first, second, a, b
    cdef float *out
    for row in range(begin, end):
        for i in range(0, half, 16):
            n = half - i
            cos = f16_load_n(table + row * size + i, n)
            sin = f16_mul(f16_set1(direction), f16_load_n(table + row * size + half + i, n))
            for head in range(c // size):
                place = row * c + head * size + i
                first = f16_load_n(x + place, n)
                second = f16_load_n(x + place + half, n)
                a = f16_sub(f16_mul(first, cos), f16_mul(second, sin))
                b = f16_add(f16_mul(second, cos), f16_mul(first, sin))
                out = y + place
                if add:
                    a = f16_add(f16_load_n(out, n), a)
                    b = f16_add(f16_load_n(out + half, n), b)
                f16_store_n(out, a, n)
                f16_store_n(out + half, b, n)


KERNELS = {
    "rotary_table_forward": kernel_capsule(rotary_table_forward),
    "rotary_forward": kernel_capsule(rotary_forward),
    "rotary_backward": kernel_capsule(rotary_backward),
}
