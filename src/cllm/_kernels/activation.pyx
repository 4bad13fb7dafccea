"""The kernels of the ops `gelu_tanh` and `gelu`: element by element, any shape."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, part_begin, value_of
from cllm._kernels.simd cimport (
    f16, f16_add, f16_at_most, f16_erf, f16_exp, f16_fma, f16_load_n, f16_mul, f16_set1, f16_store_n, f16_sub,
    f16_tanh,
)

cdef enum:
    Y = 0
    X = 1
    # size
    C = 0

# GPT-2's form (Hendrycks and Gimpel 2016, section 2): u = K (x + 0.044715 x^3) with K = sqrt(2 / pi).
cdef float K = 0.7978845608028654
cdef float K3 = 0.7978845608028654 * 0.044715
cdef float K9 = 0.7978845608028654 * 0.044715 * 3.0
cdef float SQRT_HALF = 0.7071067811865476
cdef float DENSITY = 0.3989422804014327   # 1 / sqrt(2 pi): the normal density at 0

ctypedef f16 (*Function)(f16 x) noexcept nogil


cdef f16 gelu_tanh(f16 x) noexcept nogil:
    """0.5 x (1 + tanh(u))."""
    cdef f16 half = f16_mul(f16_set1(0.5), x)
    return f16_fma(half, tanh_of_cubic(x), half)


cdef inline f16 tanh_of_cubic(f16 x) noexcept nogil:
    return f16_tanh(f16_mul(x, f16_fma(f16_set1(K3), f16_mul(x, x), f16_set1(K))))


cdef f16 gelu_tanh_slope(f16 x) noexcept nogil:
    """0.5 (1 + t) + 0.5 x (1 - t^2) du/dx, with t = tanh(u)."""
    cdef f16 t = tanh_of_cubic(x)
    # 1 - t^2 is exactly 0 long before |x| = 16; without the bound 0 * inf would make a NaN of a finite x.
    cdef f16 square = f16_at_most(f16_mul(x, x), 256.0)
    cdef f16 du = f16_fma(f16_set1(K9), square, f16_set1(K))
    cdef f16 bell = f16_fma(f16_mul(f16_set1(-1.0), t), t, f16_set1(1.0))
    cdef f16 half = f16_mul(f16_set1(0.5), x)
    return f16_fma(f16_mul(half, bell), du, f16_fma(f16_set1(0.5), t, f16_set1(0.5)))


cdef f16 gelu_exact(f16 x) noexcept nogil:
    """0.5 x (1 + erf(x / sqrt 2))."""
    cdef f16 half = f16_mul(f16_set1(0.5), x)
    return f16_fma(half, f16_erf(f16_mul(x, f16_set1(SQRT_HALF))), half)


cdef f16 gelu_exact_slope(f16 x) noexcept nogil:
    """0.5 (1 + erf(x / sqrt 2)) + x times the normal density at x."""
    cdef f16 e = f16_erf(f16_mul(x, f16_set1(SQRT_HALF)))
    cdef f16 density = f16_exp(f16_mul(f16_mul(f16_set1(-0.5), x), x))
    cdef f16 weighted = f16_mul(f16_mul(x, f16_set1(DENSITY)), density)
    return f16_add(f16_fma(f16_set1(0.5), e, f16_set1(0.5)), weighted)


cdef inline int forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts, Function f) noexcept nogil:
    """y OUT = f(x IN), both (rows, C)."""
    cdef int64_t c = op.size[C], base = shard.first * c
    cdef int64_t n = (shard.n_sequences * shard.time - shard.first) * c, i
    cdef int64_t end = part_begin(n, 16, part + 1, n_parts)
    cdef const float *x = value_of(op, shard, X) + base
    cdef float *y = value_of(op, shard, Y) + base
    for i in range(part_begin(n, 16, part, n_parts), end, 16):
        f16_store_n(y + i, f(f16_load_n(x + i, end - i)), end - i)
    return DONE


cdef inline int backward(
    const Op *op, const Shard *shard, int64_t part, int64_t n_parts, Function slope,
) noexcept nogil:
    """dx OUT or ADD = dy IN * slope(x IN), all (rows, C)."""
    cdef int64_t n = shard.n_sequences * shard.time * op.size[C], i, end = part_begin(n, 16, part + 1, n_parts)
    cdef const float *x = value_of(op, shard, X)
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef float *dx = gradient_of(op, shard, X)
    cdef f16 d
    for i in range(part_begin(n, 16, part, n_parts), end, 16):
        d = f16_mul(f16_load_n(dy + i, end - i), slope(f16_load_n(x + i, end - i)))
        if adds_to(op, X):
            d = f16_add(f16_load_n(dx + i, end - i), d)
        f16_store_n(dx + i, d, end - i)
    return DONE


cdef int gelu_tanh_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return forward(op, shard, part, n_parts, gelu_tanh)


cdef int gelu_tanh_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, gelu_tanh_slope)


cdef int gelu_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return forward(op, shard, part, n_parts, gelu_exact)


cdef int gelu_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    return backward(op, shard, part, n_parts, gelu_exact_slope)


KERNELS = {
    "gelu_tanh_forward": kernel_capsule(gelu_tanh_forward),
    "gelu_tanh_backward": kernel_capsule(gelu_tanh_backward),
    "gelu_forward": kernel_capsule(gelu_forward),
    "gelu_backward": kernel_capsule(gelu_backward),
}
