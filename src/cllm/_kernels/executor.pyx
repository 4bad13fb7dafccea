"""The two executors of a lowered Program: `fused` runs shards forward and backward in one call, `stepping` one op.

Threads meet twice a step: after the weights are packed, and when all shards are done. In between a thread has
its own activations, its own scratch and its own gradients, and folds its shards like a binary counter. Where there
are threads to spare, a team of them runs a shard: each computes its part of every op, and between two ops they meet.
"""

from cython.parallel cimport prange
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memset

from cllm._kernels.bf16 cimport Bf16, bf16_emulated, bf16_native, pair
from cllm._kernels.gemm cimport pack_panels
from cllm._kernels.gemm_bf16 cimport pack_pairs
from cllm._kernels.op cimport (
    AGAIN, DONE, GRADIENT, LOSSES, STOPPED, TARGETS, WEIGHTS, Kernel, Op, Shard, kernel_of, part_begin,
)
from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave, fpenv_value, work_begins, work_ends
from cllm._kernels.reducer cimport Reducer
from cllm._kernels.simd cimport TILE_COLUMNS as C_TILE_COLUMNS
from cllm._kernels.simd cimport TILE_ROWS as C_TILE_ROWS
from cllm._kernels.simd cimport f16, f16_load_n, f16_mul, f16_set1, f16_store_n
from cllm._kernels.team cimport Meeting, meet, region_threads
from cllm._kernels.step cimport (
    C_FOLD, C_MEET, C_PACK, CLOCK_MONOTONIC, Event, Packing, Range, Step, Worker, begin_event,
    end_event, interrupted, load_flag, look_at_signals, seconds_of, shard_of, store_flag,
)

cdef extern from "signals.h" nogil:
    int raise_pending() except -1
    void wait_a_little(int round)
    int count_up(int *counter)

TILE_COLUMNS = C_TILE_COLUMNS
TILE_ROWS = C_TILE_ROWS
OP_SIZE = sizeof(Op)
WORKER_SIZE = sizeof(Worker)
PACKING_SIZE = sizeof(Packing)
RANGE_SIZE = sizeof(Range)
EVENT_SIZE = sizeof(Event)
# What an event was, where it was no op of the Program.
PACK, FOLD, MEET = C_PACK, C_FOLD, C_MEET

cdef enum:
    MAX_DEPTH = 128  # of a worker's stack of subtrees: twice log2 of the shards that 64 bits can count
    MAX_WORKERS = 1024  # MOST_THREADS of cllm/env.py


cdef int run_op(Step *step, int w, Shard *shard, bint backward) noexcept nogil:
    """The worker's part of its op; afterwards everybody's part is done."""
    cdef Worker *own = &step.workers[w]
    cdef Meeting *meeting = &step.meetings[own.leader]
    cdef Kernel kernel = kernel_of(&step.ops[own.op], backward)
    cdef int status = AGAIN
    if kernel == NULL:
        return DONE
    shard.phase = 0
    while status == AGAIN:
        status = STOPPED
        if not interrupted(shard):
            status = kernel(&step.ops[own.op], shard, own.member, own.n_parts)
        status = meet(meeting, own.n_parts, status, &own.waited)
        shard.phase += 1
    return status


cdef int run_shard(Step *step, int w, int64_t s, float *gradient, float *left) noexcept nogil:
    """Every op forward, and in training every op backward; then the shard's sums of losses and token weights.

    left: NULL, or the gradient that this shard's is merged into, op by op; then of `gradient` only shared ranges are used.
    """
    cdef Shard shard = shard_of(step, w, s, gradient)
    cdef Worker *own = &step.workers[w]
    cdef const Range *range_
    cdef int64_t i
    cdef int status
    cdef bint merges = False
    cdef double begin, waited
    for i in range(step.n_ops * (2 if step.backward else 1)):
        begin, waited = begin_event(own), own.waited
        own.op = i if i < step.n_ops else 2 * step.n_ops - 1 - i
        if left != NULL:
            range_ = &step.ranges[own.op]
            merges = i >= step.n_ops and range_.last > range_.first and not range_.shared
            shard.base[GRADIENT] = step.workers[own.leader].room - range_.first if merges else gradient
        status = run_op(step, w, &shard, i >= step.n_ops)
        end_event(own, i, s, begin, own.waited - waited)
        if status == DONE and merges:  # before the next op that needs the room
            merge_slice(step, own, range_, left, <float *>shard.base[GRADIENT])
            status = meet(&step.meetings[own.leader], own.n_parts, DONE, &own.waited)
        if status != DONE:
            return status
    if left != NULL:
        for i in range(step.n_ops):
            if step.ranges[i].shared == 1:  # named once, by the first of its ops
                merge_slice(step, own, &step.ranges[i], left, gradient)
        # Whoever merges the whole next has other slices.
        status = meet(&step.meetings[own.leader], own.n_parts, DONE, &own.waited)
        if status != DONE:
            return status
    if own.member == 0:
        sum_up(step, s, &shard)
    return DONE


cdef void sum_up(Step *step, int64_t s, const Shard *shard) noexcept nogil:
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


cdef void run_worker(Step *step, int w) noexcept nogil:
    cdef unsigned long long saved = fpenv_enter()
    cdef Worker *worker = &step.workers[w]
    cdef double begin = work_begins(step.busy)
    count_up(&step.n_started)
    worker.n_parts = worker.n_members if region_threads() >= step.n_workers else min(worker.n_members, 1)
    worker.waited, worker.status = 0.0, DONE
    if worker.member < worker.n_parts:
        if step.lockstep:
            worker.status = run_in_lockstep(step, w)
        else:
            worker.status = fold_shards(step, w) if step.reducer != NULL else keep_shards(step, w)
    work_ends(step.busy, w, begin, worker.waited)
    if worker.status != DONE:
        store_flag(&step.leave, 1)
    count_up(&step.n_finished)
    if w == 0:
        wait_for_others(step)
    fpenv_leave(saved)


cdef void wait_for_others(Step *step) noexcept nogil:
    """The calling thread looks at the signals while others work; waiting in the barrier it could not.

    It waits only for workers that have begun: where threads are fewer than workers (a serial build,
    OMP_THREAD_LIMIT), it has yet to run the others itself.
    """
    cdef int round = 0
    while load_flag(&step.n_finished) < load_flag(&step.n_started):
        look_at_signals(step)
        wait_a_little(round)
        round += 1


cdef int keep_shards(Step *step, int w) noexcept nogil:
    cdef const Worker *leader = &step.workers[step.workers[w].leader]
    cdef int64_t s
    cdef int status
    for s in range(leader.first_shard, leader.last_shard):
        status = run_shard(step, w, s, leader.buffers[s - leader.first_shard] if step.backward != 0 else NULL, NULL)
        if status != DONE:
            return status
    return DONE


cdef int fold_shards(Step *step, int w) noexcept nogil:
    """Runs the team's shards and merges two neighbours as soon as together they are an aligned subtree.

    A single shard beside its sibling is merged into it op by op, where it needs no gradient of its own. Each member
    merges its slice. The buffer that is free then is next written by a backward, and before that all have met after a
    forward.
    """
    cdef Worker *worker = &step.workers[w]
    cdef const Worker *leader = &step.workers[worker.leader]
    cdef Range all
    cdef int64_t[MAX_DEPTH] start, size
    cdef int64_t s, depth = 0
    cdef int status
    all.first, all.last, all.shared = 0, step.n_parameters, 0
    for s in range(leader.first_shard, leader.last_shard):
        if step.ranges != NULL and depth > 0 and are_siblings(start[depth - 1], size[depth - 1], s, 1):
            status = run_shard(step, w, s, leader.buffers[depth], leader.buffers[depth - 1])
            size[depth - 1] = 2
        else:
            status = run_shard(step, w, s, leader.buffers[depth], NULL)
            start[depth], size[depth] = s, 1
            depth += 1
        if status != DONE:
            return status
        while depth > 1 and are_siblings(start[depth - 2], size[depth - 2], start[depth - 1], size[depth - 1]):
            depth -= 1
            merge_slice(step, worker, &all, leader.buffers[depth - 1], leader.buffers[depth])
            size[depth - 1] *= 2
    return DONE


cdef inline bint are_siblings(int64_t start, int64_t size, int64_t next_start, int64_t next_size) noexcept nogil:
    return size == next_size and start % (2 * size) == 0 and next_start == start + size


# --- lockstep: every op for all shards of a team before the next op ---------------------------------------------


cdef int run_in_lockstep(Step *step, int w) noexcept nogil:
    """All shards, op by op. An op's matrix is packed when its turn comes, and its gradients meet at once.

    The leader's buffers are, first, the total and for each further shard a gradient of which the shared ranges alone are
    used; behind those, one less than the tree is deep, a range's room each.
    """
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
        status = meet(&step.meetings[own.leader], own.n_parts, DONE, &own.waited)
        if status == DONE:
            status = run_op_of_all(step, w, i)
        if status != DONE:
            return status
    for i in range(step.n_ops):
        if step.ranges[i].shared == 1:  # named once, by the first of its ops
            merge_shared(step, own, &step.ranges[i])
    if own.member == 0:
        for i in range(leader.first_shard, leader.last_shard):
            shard = shard_of(step, w, i, leader.buffers[0])
            sum_up(step, i, &shard)
    return DONE


cdef void pack_for(Step *step, Worker *own, bint backward) noexcept nogil:
    cdef double begin = begin_event(own)
    cdef int i
    for i in range(step.n_packings):
        if step.packings[i].op == own.op and step.packings[i].backward == backward:
            pack_one(step, &step.packings[i], own.member, own.n_parts)
    end_event(own, C_PACK, 0, begin, 0.0)


cdef int run_op_of_all(Step *step, int w, int64_t i) noexcept nogil:
    """The worker's op forward or backward for one shard after the other, folded like a binary counter."""
    cdef Worker *own = &step.workers[w]
    cdef const Worker *leader = &step.workers[own.leader]
    cdef const Range *range_ = &step.ranges[own.op]
    cdef bint backward = i >= step.n_ops, folds = backward and range_.last > range_.first and not range_.shared
    cdef int64_t[MAX_DEPTH] start, size
    cdef int64_t s, depth = 0
    cdef int status
    cdef Shard shard
    cdef double begin, waited
    for s in range(leader.first_shard, leader.last_shard):
        if folds:
            shard = shard_of(step, w, s, level_of(step, leader, range_, depth))
        else:
            shard = shard_of(step, w, s, leader.buffers[s - leader.first_shard])
        begin, waited = begin_event(own), own.waited
        status = run_op(step, w, &shard, backward)
        end_event(own, i, s, begin, own.waited - waited)
        if status != DONE:
            return status
        if folds:
            start[depth], size[depth] = s, 1
            depth += 1
            while depth > 1 and are_siblings(start[depth - 2], size[depth - 2], start[depth - 1], size[depth - 1]):
                depth -= 1
                size[depth - 1] *= 2
                merge_level(step, own, range_, depth)
            # A level that has been merged is written again by the next shard's backward.
            status = meet(&step.meetings[own.leader], own.n_parts, DONE, &own.waited)
            if status != DONE:
                return status
    while depth > 1:
        depth -= 1
        merge_level(step, own, range_, depth)
    return DONE


cdef inline float *level_of(const Step *step, const Worker *leader, const Range *range_, int64_t depth) noexcept nogil:
    """The gradient (P,) whose range is level `depth` of the stack: the total, or a room that lies where its range would."""
    if depth == 0:
        return leader.buffers[0]
    return leader.buffers[leader.last_shard - leader.first_shard + depth - 1] - range_.first


cdef void merge_level(const Step *step, Worker *own, const Range *range_, int64_t depth) noexcept nogil:
    """The member's slice of level depth is merged into the level below."""
    cdef const Worker *leader = &step.workers[own.leader]
    merge_slice(step, own, range_, level_of(step, leader, range_, depth - 1), level_of(step, leader, range_, depth))


cdef void merge_shared(const Step *step, Worker *own, const Range *range_) noexcept nogil:
    """The shards' whole gradients of a range that several ops have added to meet, each member's slice."""
    cdef const Worker *leader = &step.workers[own.leader]
    cdef int64_t n = leader.last_shard - leader.first_shard, distance = 1, s
    while distance < n:  # what lacks a partner is passed on
        s = 0
        while s + distance < n:
            merge_slice(step, own, range_, leader.buffers[s], leader.buffers[s + distance])
            s += 2 * distance
        distance *= 2


cdef void merge_slice(const Step *step, Worker *own, const Range *range_, float *left, const float *right) noexcept nogil:
    cdef int64_t n = range_.last - range_.first, low = part_begin(n, 16, own.member, own.n_parts)
    cdef int64_t high = part_begin(n, 16, own.member + 1, own.n_parts)
    cdef double begin = begin_event(own)
    step.reducer.merge(
        step.reducer.state, left + range_.first + low, right + range_.first + low, high - low,
    )
    end_event(own, C_FOLD, 0, begin, 0.0)


cdef void pack_part(const Step *step, int part, int n_parts) noexcept nogil:
    cdef unsigned long long saved = fpenv_enter()
    cdef double started = begin_event(&step.workers[part]), busy = work_begins(step.busy)
    cdef int i
    for i in range(step.n_packings):
        pack_one(step, &step.packings[i], part, n_parts)
    end_event(&step.workers[part], C_PACK, 0, started, 0.0)
    work_ends(step.busy, part, busy, 0.0)
    fpenv_leave(saved)


cdef void pack_one(const Step *step, const Packing *p, int64_t part, int64_t n_parts) noexcept nogil:
    if p.pairs:
        pack_pairs(
            bf16, <pair *>(step.packed + p.target), step.parameters + p.source, p.depth, p.columns, p.depth_step,
            p.column_step, part, n_parts,
        )
    else:
        pack_panels(
            step.packed + p.target, step.parameters + p.source, p.depth, p.columns, p.depth_step, p.column_step,
            part, n_parts,
        )


cdef void merge_part(
    const Step *step, const int64_t *pairs, int64_t n_pairs, float *total, double factor, int part, int n_parts,
) noexcept nogil:
    """A slice of the parameters: the subtrees of all workers meet, then the total is scaled once."""
    cdef unsigned long long saved = fpenv_enter()
    cdef double started = begin_event(&step.workers[part]), busy = work_begins(step.busy)
    cdef int64_t begin = part_begin(step.n_parameters, 16, part, n_parts), i
    cdef int64_t end = part_begin(step.n_parameters, 16, part + 1, n_parts)
    cdef f16 scale
    for i in range(n_pairs):
        step.reducer.merge(
            step.reducer.state, <float *>pairs[2 * i] + begin, <const float *>pairs[2 * i + 1] + begin, end - begin,
        )
    scale = f16_set1(<float>fpenv_value(factor))
    for i in range(begin, end, 16):
        f16_store_n(total + i, f16_mul(f16_load_n(total + i, end - i), scale), end - i)
    end_event(&step.workers[part], C_MEET, 0, started, 0.0)
    work_ends(step.busy, part, busy, 0.0)
    fpenv_leave(saved)


cdef const Bf16 *bf16 = &bf16_emulated


def use_native(bint native):
    """Whether to multiply bfloat16 by the processor's own instruction, which changes no bit; returns whether it is built."""
    global bf16
    bf16 = &bf16_native if native else &bf16_emulated
    return &bf16_native != &bf16_emulated


def address_of(capsule):
    """The address in a kernel's capsule."""
    return <uintptr_t>PyCapsule_GetPointer(capsule, b"cllm.kernel")


cdef class Executor:
    """One lowered Program and its workers. Arrays are given by address; the engine keeps them alive."""

    cdef Step step
    cdef Meeting[MAX_WORKERS] meetings

    def __init__(
        self, uintptr_t ops, int64_t n_ops, uintptr_t packings, int n_packings, uintptr_t workers, int n_workers,
        int64_t n_parameters, uintptr_t packed, uintptr_t ranges=0, bint lockstep=False,
    ):
        """ranges (n_ops,), or 0. lockstep: the one team runs its shards so, and `pack` leaves the packing to it."""
        self.step.ops, self.step.n_ops = <const Op *>ops, n_ops
        self.step.packings, self.step.n_packings = <const Packing *>packings, n_packings
        self.step.ranges, self.step.lockstep = <const Range *>ranges, lockstep
        self.step.workers, self.step.n_workers = <Worker *>workers, n_workers
        self.step.meetings = self.meetings
        self.step.n_parameters, self.step.packed = n_parameters, <float *>packed

    def stop(self):
        """Asks the running call to end, or the next one if none runs or it is past its last look; that returns STOPPED."""
        store_flag(&self.step.stop, 1)

    def clear(self):
        """Forgets a stop that no call has met."""
        store_flag(&self.step.stop, 0)

    def set_batch(
        self, uintptr_t tokens, uintptr_t targets, uintptr_t weights, uintptr_t losses, uintptr_t sequence,
        uintptr_t shard_loss, uintptr_t shard_weight, int64_t time, int64_t first, int64_t batch, int64_t seed,
    ):
        """tokens, targets (B, T) int32, weights, losses (B, T) float32, sequence (S + 1,), shard sums (S,) float64."""
        self.step.tokens, self.step.targets = <char *>tokens, <char *>targets
        self.step.weights, self.step.losses = <char *>weights, <char *>losses
        self.step.sequence = <const int64_t *>sequence
        self.step.shard_loss, self.step.shard_weight = <double *>shard_loss, <double *>shard_weight
        self.step.time, self.step.first, self.step.batch, self.step.seed = time, first, batch, seed

    def pack(self, uintptr_t parameters, uintptr_t busy=0):
        """Makes the panels of every matrix from the parameters (P,), which stay where they are until the next call."""
        cdef int t, n = self.step.n_workers
        self.step.busy = <double *>busy
        self.step.parameters = <const float *>parameters
        if self.step.lockstep:
            return
        with nogil:
            for t in prange(n, num_threads=n, schedule="static", chunksize=1):
                pack_part(&self.step, t, n)

    def run(self, bint backward, reducer=None, uintptr_t busy=0):
        """Runs every worker's shards; returns the first status that is not DONE. A Python signal handler may raise."""
        cdef int t, n = self.step.n_workers
        self.step.busy = <double *>busy
        self.step.backward = backward
        self.step.reducer = NULL
        if reducer is not None:
            self.step.reducer = <const Reducer *>PyCapsule_GetPointer(reducer, b"cllm.reducer")
        self.begin()
        with nogil:
            for t in prange(n, num_threads=n, schedule="static", chunksize=1):
                run_worker(&self.step, t)
        return self.ended(self.status())

    cdef void begin(self) noexcept:
        memset(self.meetings, 0, self.step.n_workers * sizeof(Meeting))
        self.step.leave, self.step.n_started, self.step.n_finished = 0, 0, 0
        self.step.polled = seconds_of(CLOCK_MONOTONIC)

    cdef int64_t ended(self, int64_t status) except -1:
        """The status to return. A stop is spent only by the call that it ended: one that came too late is the next's."""
        raise_pending()
        if status == STOPPED:
            store_flag(&self.step.stop, 0)
        return status

    cdef int64_t status(self) noexcept:
        """Not a Python method: those may not be called while a signal handler's exception is pending."""
        cdef int w
        cdef int64_t status = DONE
        for w in range(self.step.n_workers):
            if self.step.workers[w].status != DONE and status in (DONE, STOPPED):
                status = self.step.workers[w].status
        return status

    def merge(self, uintptr_t pairs, int64_t n_pairs, uintptr_t total, double factor, uintptr_t busy=0):
        """pairs (n, 2) addresses: left ADD= right in order, with the last run's reducer; then total *= factor, in float32."""
        cdef int t, n = self.step.n_workers
        self.step.busy = <double *>busy
        with nogil:
            for t in prange(n, num_threads=n, schedule="static", chunksize=1):
                merge_part(&self.step, <const int64_t *>pairs, n_pairs, <float *>total, factor, t, n)

    def run_one(self, int64_t op, bint backward, int64_t s, uintptr_t gradient, int n_parts):
        """The stepping executor: one op of one shard in worker 0, the parts of each phase one after the other."""
        cdef Shard shard
        cdef const Op *record = &self.step.ops[op]
        cdef Kernel kernel = kernel_of(record, backward)
        cdef int64_t part, status = AGAIN
        cdef unsigned long long saved
        if kernel == NULL:
            return DONE
        self.begin()
        with nogil:
            saved = fpenv_enter()
            shard = shard_of(&self.step, 0, s, <float *>gradient)
            while status == AGAIN:
                for part in range(n_parts):
                    if status in (AGAIN, DONE):
                        status = kernel(record, &shard, part, n_parts)
                shard.phase += 1
            fpenv_leave(saved)
        return self.ended(status)

    def sum_up(self, int64_t s):
        """The sums of shard s, after its ops ran one by one."""
        cdef Shard shard = shard_of(&self.step, 0, s, NULL)
        cdef unsigned long long saved = fpenv_enter()
        sum_up(&self.step, s, &shard)
        fpenv_leave(saved)
