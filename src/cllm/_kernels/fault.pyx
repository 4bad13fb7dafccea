"""The kernel of the op `fault`: a copy, but for one NaN in one batch."""

from libc.math cimport NAN
from libc.stdint cimport int64_t

from cllm._kernels.capsule cimport kernel_capsule
from cllm._kernels.op cimport DONE, Op, Shard, adds_to, gradient_of, part_begin, value_of
from cllm._kernels.sums cimport pass_on

cdef enum:
    Y = 0
    X = 1
    # sizes
    C = 0
    BATCH = 1
    SEQUENCE = 2
    ELEMENT = 3
    IN_BACKWARD = 4


cdef inline int64_t place_of(const Op *op, const Shard *shard, bint backward) noexcept nogil:
    """The element of the shard that becomes a NaN in this direction; -1: none."""
    cdef int64_t sequence = op.size[SEQUENCE] - shard.sequence
    if shard.batch != op.size[BATCH] or backward != op.size[IN_BACKWARD]:
        return -1
    if sequence < 0 or sequence >= shard.n_sequences:
        return -1
    return sequence * shard.time * op.size[C] + op.size[ELEMENT]


cdef inline void copy(
    const Op *op, const Shard *shard, float *out, const float *array, bint adds, bint backward, int64_t first,
    int64_t part, int64_t n_parts,
) noexcept nogil:
    """out OUT or ADD = array IN, both (rows, C), from element `first` on, and the NaN."""
    cdef int64_t n = shard.n_sequences * shard.time * op.size[C] - first, place = place_of(op, shard, backward)
    cdef int64_t begin = first + part_begin(n, 16, part, n_parts), end = first + part_begin(n, 16, part + 1, n_parts)
    pass_on(out + begin, array + begin, end - begin, adds)
    if begin <= place < end:
        out[place] = NAN


cdef int fault_forward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """y OUT = x IN, (rows, C), but for the NaN."""
    copy(
        op, shard, value_of(op, shard, Y), value_of(op, shard, X), False, False, shard.first * op.size[C], part, n_parts,
    )
    return DONE


cdef int fault_backward(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil:
    """dx OUT or ADD = dy IN, (rows, C), but for the NaN."""
    cdef float *dx = gradient_of(op, shard, X)
    if dx != NULL:
        copy(op, shard, dx, gradient_of(op, shard, Y), adds_to(op, X), True, 0, part, n_parts)
    return DONE


KERNELS = {"fault_forward": kernel_capsule(fault_forward), "fault_backward": kernel_capsule(fault_backward)}
