"""Lockstep: a team runs every op for all of its shards before the next op (docs/decisions/0008-lockstep.md).

An op's matrix is packed when its turn comes, and its gradients meet as soon as they are whole. The leader's buffers are,
first, the total and then, for each level of the tree, a room for one range. Of a tied embedding the head's gradient meets
at once as well, but for the rows that tokens name: those each shard keeps aside until its tokens have been added to them.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cllm._kernels.disorder cimport keeps_order, meet_team, shard_at
from cllm._kernels.gemm cimport n_panels_of
from cllm._kernels.injection cimport CHECKED
from cllm._kernels.op cimport (
    DONE, GRADIENT, MOST_TOGETHER, NOWHERE, TOKENS, Op, Shard, kernel_of, part_begin,
)
from cllm._kernels.step cimport (
    C_FOLD, C_PACK, FIRST_USER, MAX_DEPTH, OWN, Packing, Range, Step, Worker, begin_event, end_event, shard_of,
)
from cllm._kernels.work cimport are_siblings, merge, merge_slice, pack_one, run_op, sum_up


cdef enum:
    NOTHING  # of a gradient is whole after this op
    WHOLE    # its range is
    UNNAMED  # its range is, but for the rows that tokens name
    NAMED    # these rows are

cdef enum:
    FEW = 32  # of a table's rows, one in so many


cdef inline int run_in_lockstep(Step *step, int w) noexcept nogil:
    """All shards, op by op."""
    cdef Worker *own = &step.workers[w]
    cdef const Worker *leader = &step.workers[own.leader]
    cdef Shard shard
    cdef int64_t i
    cdef int status
    for i in range(2 * step.n_ops):
        own.op = i if i < step.n_ops else 2 * step.n_ops - 1 - i
        if kernel_of(&step.ops[own.op], i >= step.n_ops) == NULL:
            continue
        pack_for(step, own, i >= step.n_ops)
        status = meet_team(step, own, DONE)
        if status == DONE:
            status = run_op_of_all(step, w, i)
        if status != DONE:
            return status
    if own.member == 0:
        for i in range(leader.first_shard, leader.last_shard):
            shard = shard_of(step, w, i, NULL)
            sum_up(step, i, &shard)
    return DONE


cdef inline void pack_for(Step *step, Worker *own, bint backward) noexcept nogil:
    cdef double begin = begin_event(own, C_PACK, 0)
    cdef const Packing *p
    cdef int64_t n
    cdef int i
    for i in range(step.n_packings):
        p = &step.packings[i]
        if p.op == own.op and p.backward == backward:
            n = n_panels_of(p.columns)
            pack_one(step, p, part_begin(n, 1, own.member, own.n_parts), part_begin(n, 1, own.member + 1, own.n_parts))
    end_event(own, C_PACK, 0, begin, 0.0)


cdef inline int whole_after(const Range *range_, bint backward) noexcept nogil:
    if not backward or range_.last == range_.first:
        return NOTHING
    if range_.use == OWN:
        return WHOLE
    return NAMED if range_.use == FIRST_USER else UNNAMED


cdef inline int run_op_of_all(Step *step, int w, int64_t i) noexcept nogil:
    """The worker's op forward or backward, shard by shard; what is whole then is folded like a binary counter."""
    cdef Worker *own = &step.workers[w]
    cdef const Worker *leader = &step.workers[own.leader]
    cdef const Range *range_ = &step.ranges[own.op]
    cdef int whole = whole_after(range_, i >= step.n_ops), status
    cdef bint folds = whole == WHOLE or whole == UNNAMED
    cdef int64_t[MAX_DEPTH] start, size
    cdef int64_t turn = leader.first_shard, n, s, depth = 0
    cdef Shard shard
    cdef double begin, waited
    while turn < leader.last_shard:
        n = n_together(step, &step.ops[own.op], range_, turn, leader.last_shard, whole)
        s = turn if folds else shard_at(step, turn)
        shard = shard_of(step, w, s, level_of(leader, range_, depth) if folds else NULL)
        shard.n_together = n
        if whole == NAMED:
            add_to_named_rows(step, range_, &shard, s)
        if whole == UNNAMED and n > 1:
            keep_apart(step, &shard, s)
        begin, waited = begin_event(own, i, s), own.waited
        status = run_op(step, w, &shard, i >= step.n_ops)
        end_event(own, i, s, begin, own.waited - waited, n)
        turn += n
        if status == DONE and whole == UNNAMED and n == 1:
            keep_named_rows(step, own, range_, s, level_of(leader, range_, depth))
        if status != DONE:
            return status
        if folds:
            start[depth], size[depth] = s, n
            depth += 1
            while depth > 1 and are_siblings(start[depth - 2], size[depth - 2], start[depth - 1], size[depth - 1]):
                depth -= 1
                size[depth - 1] *= 2
                merge_level(step, own, range_, depth)
            # A level that has been kept and merged is written again by the next shard's backward.
            status = meet_team(step, own, DONE)
            if status != DONE:
                return status
    while depth > 1:
        depth -= 1
        merge_level(step, own, range_, depth)
    if whole == NAMED:
        merge_named_rows(step, own, range_)
    return DONE


cdef inline int64_t n_together(
    const Step *step, const Op *op, const Range *range_, int64_t first, int64_t last, int whole,
) noexcept nogil:
    """How many shards from `first` on the op takes at once: a subtree of the tree of sums, all with as many rows.

    In a checked build one at a time, for a fault is made in one; and where gradients meet by another reducer than the
    plain one, whose code ops do not have. A head computes named rows twice, so they have to be few.
    """
    cdef int64_t n = 1, sequences = step.sequence[first + 1] - step.sequence[first], s
    if CHECKED or whole == NAMED or whole == UNNAMED and step.n_rows * range_.row * FEW > range_.last - range_.first:
        return 1
    if not keeps_order(step) if whole == NOTHING else step.reducer.merge != step.plain.merge:
        return 1
    while first % (2 * n) == 0 and first + 2 * n <= last and 2 * n <= MOST_TOGETHER:
        for s in range(first + n, first + 2 * n):
            if step.sequence[s + 1] - step.sequence[s] != sequences:
                return n
        if 2 * n * sequences * step.time > op.together:
            return n
        n *= 2
    return n


cdef inline float *level_of(const Worker *leader, const Range *range_, int64_t depth) noexcept nogil:
    """The gradient (P,) whose range is level `depth` of the stack: the total, or a room that lies where its range would."""
    if depth == 0:
        return leader.buffers[0]
    if range_.room != NOWHERE:
        return leader.buffers[0] + range_.room + (depth - 1) * (range_.last - range_.first) - range_.first
    return leader.buffers[depth] - range_.first


cdef inline void merge_level(Step *step, Worker *own, const Range *range_, int64_t depth) noexcept nogil:
    """The member's slice of level depth is merged into the level below."""
    cdef const Worker *leader = &step.workers[own.leader]
    merge_slice(step, own, range_, level_of(leader, range_, depth - 1), level_of(leader, range_, depth))


# --- the rows of a tied embedding that tokens name ---------------------------------------------------------------


cdef inline float *named_of(const Step *step, int64_t s) noexcept nogil:
    return step.named + s * step.named_step


cdef inline void keep_apart(const Step *step, Shard *shard, int64_t s) noexcept nogil:
    """Where the head is to keep the named rows of several shards, whose gradients have met when it ends."""
    shard.apart, shard.n_apart, shard.own, shard.own_step = step.rows, step.n_rows, named_of(step, s), step.named_step


cdef inline void keep_named_rows(
    const Step *step, const Worker *own, const Range *range_, int64_t s, const float *gradient,
) noexcept nogil:
    """The member's share of the shard's named rows OUT, from what the head has found."""
    cdef int64_t c = range_.row, j
    for j in range(part_begin(step.n_rows, 1, own.member, own.n_parts), part_begin(step.n_rows, 1, own.member + 1, own.n_parts)):
        memcpy(named_of(step, s) + j * c, gradient + range_.first + step.rows[j] * c, c * sizeof(float))


cdef inline void add_to_named_rows(const Step *step, const Range *range_, Shard *shard, int64_t s) noexcept nogil:
    """To the embedding the named rows are its whole table, and the tokens are renumbered by them."""
    shard.base[GRADIENT] = named_of(step, s) - range_.first
    shard.base[TOKENS] = <void *>(step.renumbered + step.sequence[s] * step.time * 4)


cdef inline void merge_rows(
    Step *step, const Range *range_, int64_t low, int64_t high, float *left, const float *right,
) noexcept nogil:
    """Named rows low:high, those that follow each other in the table at once."""
    cdef int64_t c = range_.row, begin = low, end, place
    while begin < high:
        end = begin + 1
        while end < high and step.rows[end] == step.rows[end - 1] + 1:
            end += 1
        place = range_.first + step.rows[begin] * c
        merge(step, place, place + (end - begin) * c, left + begin * c, right + begin * c)
        begin = end


cdef inline void merge_named_rows(Step *step, Worker *own, const Range *range_) noexcept nogil:
    """The member's share of the rows of all shards meet, and take their places in the total."""
    cdef int64_t n = step.workers[own.leader].last_shard, c = range_.row, distance = 1, s, j
    cdef int64_t low = part_begin(step.n_rows, 1, own.member, own.n_parts)
    cdef int64_t high = part_begin(step.n_rows, 1, own.member + 1, own.n_parts)
    cdef double begin = begin_event(own, C_FOLD, 0)
    while distance < n:
        s = 0
        while s + distance < n:
            merge_rows(step, range_, low, high, named_of(step, s), named_of(step, s + distance))
            s += 2 * distance
        distance *= 2
    for j in range(low, high):
        memcpy(
            step.workers[own.leader].buffers[0] + range_.first + step.rows[j] * c, named_of(step, 0) + j * c,
            c * sizeof(float),
        )
    end_event(own, C_FOLD, 0, begin, 0.0)
