"""The kernel of the op `dropout`: forward and backward draw the same mask again, so none is kept."""

from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.masks cimport drop
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, part_begin, value_of

cdef enum:
    Y = 0
    X = 1
    # size
    C = 0
    # number
    PROBABILITY = 0


cdef int dropout_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y OUT from x IN, both (rows, C)."""
    return each_sample(op, shard, part, n_parts, value_of(op, shard, Y), value_of(op, shard, X), False)


cdef int dropout_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dx OUT or ADD from dy IN, both (rows, C)."""
    if gradient_of(op, shard, X) == NULL:
        return DONE
    return each_sample(
        op, shard, part, n_parts, gradient_of(op, shard, X), gradient_of(op, shard, Y), adds_to(op, X),
    )


cdef int each_sample(
    const Op *op, const Shard *shard, int64_t part, int64_t n_parts, float *y, const float *x, bint add,
) noexcept nogil:
    cdef int64_t n = shard.time * op.size[C], s
    for s in range(part_begin(shard.n_sequences, 1, part, n_parts), part_begin(shard.n_sequences, 1, part + 1, n_parts)):
        drop(op, shard, shard.sequence + s, 0, n, y + s * n, x + s * n, op.number[PROBABILITY], add)
    return DONE


KERNELS = {"dropout_forward": kernel_capsule(dropout_forward), "dropout_backward": kernel_capsule(dropout_backward)}
