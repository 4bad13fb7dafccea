"""Pieces of a thread's work, whichever way its shards go: one op, one matrix into panels, one slice merged, sums."""

from libc.stdint cimport int64_t

from cllm._kernels.bf16 cimport pair
from cllm._kernels.disorder cimport meet_team
from cllm._kernels.gemm cimport pack_panels
from cllm._kernels.gemm_bf16 cimport pack_pairs
from cllm._kernels.injection cimport CHECKED, inject, is_due
from cllm._kernels.op cimport AGAIN, DONE, LOSSES, STOPPED, TARGETS, WEIGHTS, Kernel, Shard, kernel_of, part_begin
from cllm._kernels.step cimport C_FOLD, Packing, Range, Step, Worker, begin_event, end_event, interrupted, note, store_flag


cdef inline int run_op(Step *step, int w, Shard *shard, bint backward) noexcept nogil:
    """The worker's part of its op; afterwards everybody's part is done."""
    cdef Worker *own = &step.workers[w]
    cdef Kernel kernel = kernel_of(&step.ops[own.op], backward)
    cdef int status = AGAIN
    if kernel == NULL:
        return DONE
    shard.phase = 0
    while status == AGAIN:
        status = STOPPED
        if not interrupted(shard):
            status = kernel(&step.ops[own.op], shard, own.member, own.n_parts)
        status = meet_team(step, own, status)
        shard.phase += 1
    if CHECKED and status == DONE and is_due(&step.injection, &step.ops[own.op], shard, backward):
        if own.member == 0:
            inject(&step.injection, &step.ops[own.op], shard)
        status = meet_team(step, own, status)  # before anybody reads it
    return status


cdef inline void merge(Step *step, int64_t low, int64_t high, float *left, const float *right) noexcept nogil:
    """Elements low:high of the parameters; left ADD and right IN are those of them. A reducer that refuses ends the call."""
    cdef int status
    if low < high:
        status = step.reducer.merge(step.reducer.state, low, high, left, right)
        if status != 0:
            note(&step.refused, status)
            store_flag(&step.leave, 1)


cdef inline void merge_slice(Step *step, Worker *own, const Range *range_, float *left, const float *right) noexcept nogil:
    cdef int64_t n = range_.last - range_.first, low = range_.first + part_begin(n, 16, own.member, own.n_parts)
    cdef int64_t high = range_.first + part_begin(n, 16, own.member + 1, own.n_parts)
    cdef double begin = begin_event(own, C_FOLD, 0)
    merge(step, low, high, left + low, right + low)
    end_event(own, C_FOLD, 0, begin, 0.0)


cdef inline bint are_siblings(int64_t start, int64_t size, int64_t next_start, int64_t next_size) noexcept nogil:
    return size == next_size and start % (2 * size) == 0 and next_start == start + size


cdef inline void pack_one(const Step *step, const Packing *p, int64_t first, int64_t last) noexcept nogil:
    """Panels first:last of the matrix."""
    if p.pairs:
        pack_pairs(
            step.bf16, <pair *>(step.packed + p.target), step.parameters + p.source, p.depth, p.columns, p.depth_step,
            p.column_step, first, last,
        )
    else:
        pack_panels(
            step.packed + p.target, step.parameters + p.source, p.depth, p.columns, p.depth_step, p.column_step,
            first, last,
        )


cdef inline void sum_up(Step *step, int64_t s, const Shard *shard) noexcept nogil:
    """Two float64 chains over the shard's tokens."""
    cdef const float *loss = <const float *>shard.base[LOSSES]
    cdef const float *weight = <const float *>shard.base[WEIGHTS]
    cdef const int *target = <const int *>shard.base[TARGETS]
    cdef double losses = 0.0, weights = 0.0
    cdef int64_t i
    if step.losses == NULL:
        return
    for i in range(shard.n_sequences * shard.time):
        if target[i] >= 0:
            losses += loss[i]
            weights += weight[i]
    step.shard_loss[s] = losses
    step.shard_weight[s] = weights
