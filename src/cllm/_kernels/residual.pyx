"""The kernel of the op `add`: the residual sum."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, part_begin, value_of
from cllm._kernels.sums cimport pass_on
from cllm._kernels.simd cimport f16, f16_add, f16_load_n, f16_store_n

cdef enum:
    Y = 0
    A = 1
    B = 2
    # size
    C = 0


cdef int add_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y OUT = a IN + b IN, all (rows, C)."""
    cdef int64_t base = shard.first * op.size[C], n = (shard.n_sequences * shard.time - shard.first) * op.size[C], i
    cdef int64_t end = part_begin(n, 16, part + 1, n_parts)
    cdef float *y = value_of(op, shard, Y) + base
    cdef const float *a = value_of(op, shard, A) + base
    cdef const float *b = value_of(op, shard, B) + base
    for i in range(part_begin(n, 16, part, n_parts), end, 16):
        f16_store_n(y + i, f16_add(f16_load_n(a + i, end - i), f16_load_n(b + i, end - i)), end - i)
    return DONE


cdef int add_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """da, db OUT or ADD = dy IN, all (rows, C)."""
    cdef int64_t n = shard.n_sequences * shard.time * op.size[C]
    cdef int64_t begin = part_begin(n, 16, part, n_parts), end = part_begin(n, 16, part + 1, n_parts), slot
    cdef const float *dy = gradient_of(op, shard, Y)
    cdef float *dx
    for slot in range(A, B + 1):
        dx = gradient_of(op, shard, slot)
        if dx != NULL:
            pass_on(dx + begin, dy + begin, end - begin, adds_to(op, slot))
    return DONE


KERNELS = {"add_forward": kernel_capsule(add_forward), "add_backward": kernel_capsule(add_backward)}
