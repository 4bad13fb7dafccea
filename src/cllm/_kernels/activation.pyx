"""The kernels of the ops `gelu_tanh`, `gelu` and `swiglu`: element by element, any shape."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, part_begin, value_of
from cllm._kernels.simd cimport (
    f16, f16_add, f16_div, f16_exp, f16_fma, f16_load_n, f16_mul, f16_set1, f16_store_n, f16_sub,
)

cdef extern from "gelu.h" nogil:
    void gelu_lanes(float *y, float *slope, const float *x, long n, bint exact)

cdef enum:
    Y = 0
    SLOPE = 1
    X = 2
    # of swiglu
    GATE = 1
    UP = 2
    # size
    C = 0


cdef int gelu_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return forward(op, shard, part, n_parts, True)


cdef int gelu_tanh_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return forward(op, shard, part, n_parts, False)


cdef inline int forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts, bint exact) noexcept nogil:
    """y, and in training slope, OUT; x IN; all (rows, C)."""
    cdef int64_t base = shard.first * op.size[C], n = (shard.n_sequences * shard.time - shard.first) * op.size[C]
    cdef int64_t i = part_begin(n, 16, part, n_parts), end = part_begin(n, 16, part + 1, n_parts)
    cdef const float *x = value_of(op, shard, X) + base
    cdef float *y = value_of(op, shard, Y) + base
    cdef float *slope = value_of(op, shard, SLOPE)
    while i + 16 <= end:
        gelu_lanes(y + i, slope + i if slope != NULL else NULL, x + i, 16, exact)
        i += 16
    if i < end:
        gelu_lanes(y + i, slope + i if slope != NULL else NULL, x + i, end - i, exact)
    return DONE


cdef int backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dx OUT or ADD = dy IN * slope IN, all (rows, C)."""
    cdef int64_t n = shard.n_sequences * shard.time * op.size[C], i, end = part_begin(n, 16, part + 1, n_parts)
    cdef const float *slope = value_of(op, shard, SLOPE)
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef float *dx = gradient_of(op, shard, X)
    cdef f16 d
    for i in range(part_begin(n, 16, part, n_parts), end, 16):
        d = f16_mul(f16_load_n(dy + i, end - i), f16_load_n(slope + i, end - i))
        if adds_to(op, X):
            d = f16_add(f16_load_n(dx + i, end - i), d)
        f16_store_n(dx + i, d, end - i)
    return DONE


cdef inline f16 sigmoid(f16 x) noexcept nogil:
    return f16_div(f16_set1(1.0), f16_add(f16_set1(1.0), f16_exp(f16_mul(f16_set1(-1.0), x))))


cdef int swiglu_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y OUT = gate * sigmoid(gate) * up IN, all (rows, C)."""
    cdef int64_t base = shard.first * op.size[C], n = (shard.n_sequences * shard.time - shard.first) * op.size[C], i
    cdef int64_t end = part_begin(n, 16, part + 1, n_parts)
    cdef const float *gate = value_of(op, shard, GATE) + base
    cdef const float *up = value_of(op, shard, UP) + base
    cdef float *y = value_of(op, shard, Y) + base
    cdef f16 g
    for i in range(part_begin(n, 16, part, n_parts), end, 16):
        g = f16_load_n(gate + i, end - i)
        f16_store_n(y + i, f16_mul(f16_mul(g, sigmoid(g)), f16_load_n(up + i, end - i)), end - i)
    return DONE


cdef int swiglu_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dgate, dup OUT or ADD; dy, gate, up IN; all (rows, C). With s the sigmoid, s * (1 + gate * (1 - s)) is the slope."""
    cdef int64_t n = shard.n_sequences * shard.time * op.size[C], i, end = part_begin(n, 16, part + 1, n_parts)
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef const float *gate = value_of(op, shard, GATE)
    cdef const float *up = value_of(op, shard, UP)
    cdef f16 d, g, s, slope
    for i in range(part_begin(n, 16, part, n_parts), end, 16):
        d, g = f16_load_n(dy + i, end - i), f16_load_n(gate + i, end - i)
        s = sigmoid(g)
        slope = f16_mul(s, f16_fma(g, f16_sub(f16_set1(1.0), s), f16_set1(1.0)))
        put(op, shard, GATE, i, end - i, f16_mul(f16_mul(d, f16_load_n(up + i, end - i)), slope))
        put(op, shard, UP, i, end - i, f16_mul(d, f16_mul(g, s)))
    return DONE


cdef inline void put(const Op *op, const Shard *shard, int slot, int64_t i, int64_t n, f16 d) noexcept nogil:
    """Lanes i of a slot's gradient OUT or ADD."""
    cdef float *out = gradient_of(op, shard, slot) + i
    if adds_to(op, slot):
        d = f16_add(f16_load_n(out, n), d)
    f16_store_n(out, d, n)


KERNELS = {
    "gelu_tanh_forward": kernel_capsule(gelu_tanh_forward),
    "gelu_tanh_backward": kernel_capsule(backward),
    "gelu_forward": kernel_capsule(gelu_forward),
    "gelu_backward": kernel_capsule(backward),
    "swiglu_forward": kernel_capsule(swiglu_forward),
    "swiglu_backward": kernel_capsule(swiglu_backward),
}
