"""The executors of a lowered Program: `fused` runs shards forward and backward in one call, `stepping` one op.

Threads meet twice a step: after the weights are packed, and when all shards are done. In between a thread has
its own activations, its own scratch and its own gradients, and folds its shards like a binary counter. Where there
are threads to spare, a team of them runs a shard: each computes its part of every op, and between two ops they meet.
In disorder (`permuted`, `adversarial`) the same is done in another order: disorder.pxd.
"""

from cython.parallel cimport parallel, prange
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memset

from cllm._kernels.abi cimport cllm_reducer
from cllm._kernels.bf16 cimport Bf16, bf16_emulated, bf16_native
from cllm._kernels.disorder cimport await_turn, dawdle, keeps_order, meet_team, shard_at, worker_of
from cllm._kernels.gemm cimport n_panels_of
from cllm._kernels.injection cimport CHECKED, Injection, inject, is_due
from cllm._kernels.lockstep cimport run_in_lockstep
from cllm._kernels.op cimport AGAIN, DONE, GRADIENT, REFUSED, STOPPED, Kernel, Op, Shard, kernel_of, part_begin, place_begin
from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave, fpenv_value, work_begins, work_ends
from cllm._kernels.simd cimport TILE_COLUMNS as C_TILE_COLUMNS
from cllm._kernels.simd cimport TILE_ROWS as C_TILE_ROWS
from cllm._kernels.simd cimport f16, f16_set1
from cllm._kernels.squares cimport Matrix, squares_of_part
from cllm._kernels.team cimport Meeting, region_threads
from cllm._kernels.step cimport (
    C_FOLD, C_IDLE, C_MEET, C_PACK, CLOCK_MONOTONIC, FIRST_USER, MAX_DEPTH, OWN, Disorder, Event, Packing, Range, Step,
    Worker, begin_event, end_event, load_flag, look_at_signals, note, seconds_of, shard_of, store_flag,
)
from cllm._kernels.work cimport are_siblings, merge, merge_slice, pack_one, run_op, sum_up

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
PACK, FOLD, MEET, IDLE = C_PACK, C_FOLD, C_MEET, C_IDLE

cdef enum:
    MAX_WORKERS = 1024  # MOST_THREADS of cllm/env.py


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
        begin, waited = begin_event(own, i, s), own.waited
        own.op = i if i < step.n_ops else 2 * step.n_ops - 1 - i
        if left != NULL:
            range_ = &step.ranges[own.op]
            merges = i >= step.n_ops and range_.last > range_.first and range_.use == OWN
            shard.base[GRADIENT] = step.workers[own.leader].room - range_.first if merges else gradient
        status = run_op(step, w, &shard, i >= step.n_ops)
        end_event(own, i, s, begin, own.waited - waited)
        if status == DONE and merges:  # before the next op that needs the room
            merge_slice(step, own, range_, left, <float *>shard.base[GRADIENT])
            status = meet_team(step, own, DONE)
        if status != DONE:
            return status
    if left != NULL:
        for i in range(step.n_ops):
            if step.ranges[i].use == FIRST_USER:
                merge_slice(step, own, &step.ranges[i], left, gradient)
        # Whoever merges the whole next has other slices.
        status = meet_team(step, own, DONE)
        if status != DONE:
            return status
    if own.member == 0:
        sum_up(step, s, &shard)
    return DONE


cdef void run_worker(Step *step, int w) noexcept nogil:
    cdef unsigned long long saved = fpenv_enter()
    cdef Worker *worker = &step.workers[w]
    cdef double begin = work_begins(step.busy)
    await_turn(step, w)
    count_up(&step.n_started)
    dawdle(step, worker)
    worker.n_parts = worker.n_members if region_threads() >= step.n_workers else min(worker.n_members, 1)
    worker.waited, worker.status = 0.0, DONE
    if worker.member < worker.n_parts:
        if step.lockstep:
            worker.status = run_in_lockstep(step, w)
        else:
            worker.status = fold_shards(step, w) if folds(step) else keep_shards(step, w)
    work_ends(step.busy, w, begin, worker.waited)
    if worker.status != DONE:
        store_flag(&step.leave, 1)
    note(&worker.doing, C_IDLE)
    count_up(&step.n_finished)
    dawdle(step, worker)
    if w == step.caller:
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


cdef bint folds(const Step *step) noexcept nogil:
    """Whether neighbours are merged as soon as they can be; in disorder every shard may keep its own until all meet."""
    return step.reducer != NULL and keeps_order(step)


cdef int keep_shards(Step *step, int w) noexcept nogil:
    cdef const Worker *leader = &step.workers[step.workers[w].leader]
    cdef int64_t turn, s
    cdef int status
    for turn in range(leader.first_shard, leader.last_shard):
        s = shard_at(step, turn)
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
    all.first, all.last = 0, step.n_parameters
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


cdef void pack_part(const Step *step, int part, int n_parts) noexcept nogil:
    cdef unsigned long long saved = fpenv_enter()
    cdef double started = begin_event(&step.workers[part], C_PACK, 0), busy = work_begins(step.busy)
    cdef const Packing *p
    cdef int64_t n, size
    cdef int i
    dawdle(step, &step.workers[part])
    for i in range(step.n_packings):
        p = &step.packings[i]
        n, size = n_panels_of(p.columns), p.depth * p.columns
        pack_one(
            step, p, place_begin(n, 1, p.source, size, step.n_parameters, part, n_parts),
            place_begin(n, 1, p.source, size, step.n_parameters, part + 1, n_parts),
        )
    end_event(&step.workers[part], C_PACK, 0, started, 0.0)
    note(&step.workers[part].doing, C_IDLE)
    dawdle(step, &step.workers[part])
    work_ends(step.busy, part, busy, 0.0)
    fpenv_leave(saved)


cdef void meet_part(
    Step *step, const int64_t *pairs, int64_t n_pairs, int part, int n_parts,
) noexcept nogil:
    """A slice of the parameters: the subtrees of all workers meet, if all went well."""
    cdef unsigned long long saved = fpenv_enter()
    cdef double started = begin_event(&step.workers[part], C_MEET, 0), busy = work_begins(step.busy)
    cdef int64_t begin = part_begin(step.n_parameters, 16, part, n_parts), i
    cdef int64_t end = part_begin(step.n_parameters, 16, part + 1, n_parts)
    dawdle(step, &step.workers[part])
    if status_of(step) == DONE:
        for i in range(n_pairs):
            merge(step, begin, end, <float *>pairs[2 * i] + begin, <const float *>pairs[2 * i + 1] + begin)
    end_event(&step.workers[part], C_MEET, 0, started, 0.0)
    note(&step.workers[part].doing, C_IDLE)
    work_ends(step.busy, part, busy, 0.0)
    fpenv_leave(saved)


cdef void finish_part(Step *step, float *total, int part, int n_parts) noexcept nogil:
    """A slice of the parameters: what the merges have left becomes the sum over the shards, if all went well."""
    cdef unsigned long long saved = fpenv_enter()
    cdef double busy = work_begins(step.busy)
    cdef int64_t begin = part_begin(step.n_parameters, 16, part, n_parts)
    cdef int64_t end = part_begin(step.n_parameters, 16, part + 1, n_parts)
    cdef int status
    if status_of(step) == DONE and begin < end:
        status = step.reducer.finish(step.reducer.state, begin, end, total + begin, step.n_shards)
        if status != 0:
            note(&step.refused, status)
    work_ends(step.busy, part, busy, 0.0)
    fpenv_leave(saved)


cdef void scale_part(
    const Step *step, float *total, const Matrix *matrices, int n_matrices, float *sums, int part, int n_parts,
) noexcept nogil:
    """Columns of every matrix: the total is divided by the token weights, and its squares added up, if all went well."""
    cdef unsigned long long saved = fpenv_enter()
    cdef double weight = fpenv_value(weight_of(step))
    cdef double started = begin_event(&step.workers[part], C_MEET, 0), busy = work_begins(step.busy)
    cdef f16 scale
    dawdle(step, &step.workers[part])
    if status_of(step) == DONE and weight > 0.0:
        scale = f16_set1(<float>(1.0 / weight))
        squares_of_part(total, &scale, matrices, n_matrices, sums, part, n_parts)
    end_event(&step.workers[part], C_MEET, 0, started, 0.0)
    note(&step.workers[part].doing, C_IDLE)
    work_ends(step.busy, part, busy, 0.0)
    fpenv_leave(saved)


cdef int64_t status_of(const Step *step) noexcept nogil:
    """What is wrong with a shard, or that somebody asked to stop, or DONE."""
    cdef int w
    cdef int64_t status = DONE
    for w in range(step.n_workers):
        if step.workers[w].status != DONE and status in (DONE, STOPPED):
            status = step.workers[w].status
    return status


cdef double weight_of(const Step *step) noexcept nogil:
    """Of all shards' tokens, one float64 chain."""
    cdef double total = 0.0
    cdef int64_t s
    for s in range(step.n_shards):
        total += step.shard_weight[s]
    return total


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
    cdef Disorder disorder
    cdef Meeting[MAX_WORKERS] meetings

    def __init__(
        self, uintptr_t ops, int64_t n_ops, uintptr_t packings, int n_packings, uintptr_t workers, int n_workers,
        int64_t n_parameters, uintptr_t packed, uintptr_t ranges=0, bint lockstep=False,
        uintptr_t plain=0,
    ):
        """ranges (n_ops,), or 0. lockstep: the one team runs its shards so, and `pack` leaves the packing to it.

        plain: the address of the cllm_reducer that adds, which ops may do in its stead.
        """
        self.step.ops, self.step.n_ops = <const Op *>ops, n_ops
        self.step.packings, self.step.n_packings = <const Packing *>packings, n_packings
        self.step.ranges, self.step.lockstep = <const Range *>ranges, lockstep
        self.step.plain = <const cllm_reducer *>plain
        self.step.workers, self.step.n_workers = <Worker *>workers, n_workers
        self.step.meetings = self.meetings
        self.step.n_parameters, self.step.packed = n_parameters, <float *>packed
        self.step.injection.op = -1

    def stop(self):
        """Asks the running call to end, or the next one if none runs or it is past its last look; that returns STOPPED."""
        store_flag(&self.step.stop, 1)

    def clear(self):
        """Forgets a stop that no call has met."""
        store_flag(&self.step.stop, 0)

    @property
    def refused(self):
        """The status by which code of another package has given up in the last call; 0: none has."""
        return self.step.refused

    def stopping(self):
        """Whether somebody has asked to end a call that has not ended yet."""
        return load_flag(&self.step.stop) != 0

    def inject(
        self, int64_t op, bint backward, int64_t batch, int64_t sequence, bint is_gradient, int64_t slot, int64_t element,
        double value,
    ):
        """In a checked build: a fault after this op of a batch's shard (by its first sequence); op -1: none any more."""
        cdef Injection *fault = &self.step.injection
        fault.op, fault.backward, fault.batch, fault.sequence = op, backward, batch, sequence
        fault.is_gradient, fault.slot, fault.element, fault.value = is_gradient, slot, element, value

    def set_batch(
        self, uintptr_t tokens, uintptr_t targets, uintptr_t weights, uintptr_t losses, uintptr_t sequence,
        uintptr_t shard_loss, uintptr_t shard_weight, int64_t n_shards, int64_t time, int64_t first, int64_t batch,
        int64_t seed, uintptr_t positions=0,
    ):
        """tokens, targets (B, T) int32, weights, losses (B, T) float32, sequence (S + 1,), shard sums (S,) float64.

        positions (B, T) int32, of tokens in their documents, which do not see each other; or 0.
        """
        self.step.tokens, self.step.targets = <char *>tokens, <char *>targets
        self.step.weights, self.step.losses = <char *>weights, <char *>losses
        self.step.positions = <const char *>positions
        self.step.sequence = <const int64_t *>sequence
        self.step.shard_loss, self.step.shard_weight = <double *>shard_loss, <double *>shard_weight
        self.step.n_shards, self.step.time, self.step.first = n_shards, time, first
        self.step.batch, self.step.seed = batch, seed

    def set_rows(self, uintptr_t renumbered, uintptr_t rows, int64_t n_rows, uintptr_t named, int64_t step):
        """Of a tied embedding in lockstep, which rows (n_rows,) int64 the batch's tokens name: those are renumbered (B, T).

        named (S, step): room for each shard's gradients of these rows.
        """
        self.step.renumbered, self.step.rows, self.step.n_rows = <const char *>renumbered, <const int64_t *>rows, n_rows
        self.step.named, self.step.named_step = <float *>named, step

    def set_disorder(self, uintptr_t workers, uintptr_t turns, uintptr_t order, int slow):
        """The order of the next call: workers, turns (n_workers,) int32, order (S,) int64 or 0, who is slow."""
        self.disorder.workers, self.disorder.turns = <const int *>workers, <const int *>turns
        self.disorder.order, self.disorder.slow = <const int64_t *>order, slow
        self.step.disorder, self.step.caller = &self.disorder, self.disorder.workers[0]

    def pack(self, uintptr_t parameters, uintptr_t busy=0):
        """Makes the panels of every matrix from the parameters (P,), which stay where they are until the next call."""
        cdef int t, n = self.step.n_workers
        self.step.busy = <double *>busy
        self.step.parameters = <const float *>parameters
        self.step.bf16 = bf16
        if self.step.lockstep:
            return
        with nogil:
            for t in prange(n, num_threads=n, schedule="static", chunksize=1):
                pack_part(&self.step, worker_of(&self.step, t), n)

    def run(self, bint backward, uintptr_t busy=0):
        """Runs every worker's shards, each of which keeps its gradient; returns the first status that is not DONE. A Python signal handler may raise."""
        cdef int t, n = self.step.n_workers
        self.step.busy = <double *>busy
        self.step.backward, self.step.reducer = backward, NULL
        self.begin()
        with nogil:
            for t in prange(n, num_threads=n, schedule="static", chunksize=1):
                run_worker(&self.step, worker_of(&self.step, t))
        return self.ended(status_of(&self.step))

    cdef void begin(self) noexcept:
        memset(self.meetings, 0, self.step.n_workers * sizeof(Meeting))
        self.step.leave, self.step.n_started, self.step.n_finished, self.step.refused = 0, 0, 0, 0
        self.step.polled = seconds_of(CLOCK_MONOTONIC)

    cdef int64_t ended(self, int64_t status) except -1:
        """The status to return. A stop is spent only by the call that it ended: one that came too late is the next's."""
        raise_pending()
        if self.step.refused != 0:
            return REFUSED
        if status == STOPPED:
            store_flag(&self.step.stop, 0)
        return status

    def fold(
        self, uintptr_t parameters, uintptr_t reducer, uintptr_t pairs, int64_t n_pairs, uintptr_t total, uintptr_t matrices,
        int n_matrices, uintptr_t sums, uintptr_t busy=0,
    ):
        """`pack` and `run` with this reducer, and what the workers leave meets, in one parallel region.

        reducer: the address of a cllm_reducer. pairs (n, 2) addresses: left ADD= right in order; then total
        (n_parameters,) *= 1 / sum of weights, in float32, and sums OUT are those of its columns' squares: the matrices
        are all that total has. Without matrices the total is none yet, and is neither finished nor divided.
        """
        cdef int t, n = self.step.n_workers
        self.step.busy, self.step.parameters, self.step.bf16 = <double *>busy, <const float *>parameters, bf16
        self.step.backward, self.step.reducer = True, <const cllm_reducer *>reducer
        self.begin()
        with nogil, parallel(num_threads=n):
            if not self.step.lockstep:
                for t in prange(n, schedule="static", chunksize=1):
                    pack_part(&self.step, worker_of(&self.step, t), n)
            for t in prange(n, schedule="static", chunksize=1):
                run_worker(&self.step, worker_of(&self.step, t))
            if n_pairs:
                for t in prange(n, schedule="static", chunksize=1):
                    meet_part(&self.step, <const int64_t *>pairs, n_pairs, worker_of(&self.step, t), n)
            if self.step.reducer.finish != NULL and n_matrices > 0:
                for t in prange(n, schedule="static", chunksize=1):
                    finish_part(&self.step, <float *>total, worker_of(&self.step, t), n)
            for t in prange(n, schedule="static", chunksize=1):
                scale_part(
                    &self.step, <float *>total, <const Matrix *>matrices, n_matrices, <float *>sums,
                    worker_of(&self.step, t), n,
                )
        return self.ended(status_of(&self.step))

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
            if CHECKED and is_due(&self.step.injection, record, &shard, backward):
                inject(&self.step.injection, record, &shard)
            fpenv_leave(saved)
        return self.ended(status)

    def sum_up(self, int64_t s):
        """The sums of shard s, after its ops ran one by one."""
        cdef Shard shard = shard_of(&self.step, 0, s, NULL)
        cdef unsigned long long saved = fpenv_enter()
        sum_up(&self.step, s, &shard)
        fpenv_leave(saved)
