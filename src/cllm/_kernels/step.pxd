"""The records of one call into the executors: the step, what each thread has of its own, and how it is asked to end."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from cllm._kernels.abi cimport cllm_reducer
from cllm._kernels.bf16 cimport Bf16
from cllm._kernels.injection cimport Injection
from cllm._kernels.op cimport (
    ACTIVATIONS, GRADIENT, LOSSES, PACKED, PARAMETERS, TARGETS, TOKENS, WEIGHTS, Op, Shard,
)
from cllm._kernels.team cimport Meeting

cdef extern from "clock.h" nogil:
    ctypedef int clockid_t
    clockid_t CLOCK_MONOTONIC
    double seconds_of(clockid_t clock)

cdef extern from "signals.h" nogil:
    int poll_signals()
    int load_flag(int *flag)
    void store_flag(int *flag, int value)
    void note(int64_t *word, int64_t value)

cdef enum:
    # What an event was, where it was no op of the Program.
    C_PACK = -1
    C_FOLD = -2
    C_MEET = -3
    C_IDLE = -4                  # no event: what a thread does before and after
    # Milliseconds between two looks at the signals: far below the 250 that Ctrl-C may take, and no measurable cost.
    POLL_EVERY = 20
    MAX_DEPTH = 128  # of a stack of subtrees: twice log2 of the shards that 64 bits can count
    # Who uses a range: one op, or several, of which this is the first or one of the others.
    OWN = 0
    FIRST_USER = 1
    OTHER_USER = 2


cdef struct Packing:
    # One matrix (depth, columns) of the parameters, as panels of float32 or of pairs of bfloat16.
    int64_t source, target, depth, columns, depth_step, column_step, pairs
    int64_t op, backward         # who reads it, where it is made for that op alone (lockstep)


cdef struct Range:
    # Where an op's parameters lie, first:last of them all; cllm/ranges.py says what the fields mean. Of what several ops
    # use, a shard's gradient is whole only when all have added to it.
    int64_t first, last, use, row
    int64_t room                 # in lockstep: where in the total the levels of the tree lie, or NOWHERE


cdef struct Event:
    # A piece of one thread's work, for a profile. `what`: PACK, FOLD, MEET or an op's place in the shard's way, forward
    # 0 .. n-1 and backward n .. 2n-1.
    int64_t what, shard
    double begin, end            # seconds of the monotonic clock


cdef struct Worker:
    # One thread. Those of a team, which come one after the other, work on their leader's run of shards, each on its part
    # of every op; arena and buffers are the leader's. cllm/lowering.py has the same layout.
    void *arena
    float *scratch
    float **buffers              # gradients (n,) each: the stack of the run's subtrees, or one a shard; lockstep.pxd
    int64_t arena_step           # elements from a shard's arena to the next one's; 0: all have the same
    float *room                  # of the largest range that is no shared one
    int64_t first_shard, last_shard
    int64_t status, op
    Event *events                # NULL: nobody wants to know
    int64_t n_events, max_events
    int64_t leader, member       # number of the worker that leads, and this one's place behind it
    int64_t n_members            # 0: none of a team, there is nothing to do
    int64_t n_parts              # of them here: in a region with fewer threads than workers each leader is alone
    double waited                # CPU seconds of waiting for others of the team
    uint64_t dice                # when to lose time, in disorder
    int64_t doing, shard         # an event's `what`, under way, for those who look on (watching.py)
    int64_t waits                # 1: until the others of the team have come
    int64_t[3] unused            # no two workers write to one cache line


cdef struct Disorder:
    # In which order one call does what may change places. cllm/disorder.py draws it, disorder.pxd keeps to it.
    const int *workers           # (n_workers,) whose part each thread computes
    const int *turns             # (n_workers,) how many others begin before this worker
    const int64_t *order         # (S,) which shard is run in the place of each, within its run; NULL: as numbered
    int slow                     # the worker that comes late to everything; n_workers: none


cdef struct Step:
    const Op *ops
    int64_t n_ops
    Worker *workers
    Meeting *meetings            # (n_workers,) a team's is its leader's
    int n_workers
    int backward                 # 0: forward only
    const cllm_reducer *reducer  # NULL: every shard keeps its gradient
    const cllm_reducer *plain    # the one that adds and does nothing else
    const Bf16 *bf16             # how pairs are made
    const Packing *packings
    int n_packings
    const Range *ranges          # (n_ops,) NULL: an op's gradients cannot be merged before all are there
    int lockstep                 # every op runs for all shards of the one team before the next op
    const int64_t *sequence      # (S + 1,) first sequence of each shard
    double *shard_loss           # (S,)
    double *shard_weight         # (S,)
    int64_t n_shards, time, first, batch, seed, n_parameters
    const float *parameters
    float *packed
    const char *renumbered       # int32 (B, T) the tokens as places in `rows`
    const int64_t *rows          # (n_rows,) of a tied embedding, all that the tokens name
    int64_t n_rows
    float *named                 # (S, named_step) each shard's gradients of these rows
    int64_t named_step
    char *tokens                 # int32 (B, T), and so on: op.h
    const char *positions        # int32 (B, T) of tokens in their documents; NULL: each sequence is one
    char *targets
    char *weights
    char *losses
    double *busy                 # clock.h; NULL: nobody asks
    const Disorder *disorder     # NULL: everything in its usual order
    int caller                   # the worker whose part the calling thread computes
    int stop                     # somebody asked: stays until a call has ended for it
    int leave                    # this call ends early: an op refused, or a signal handler raised
    int64_t refused              # the status by which code of another package has given up; 0: none has
    int n_started, n_finished
    double polled
    Injection injection          # checked builds alone look at it


cdef inline void look_at_signals(Step *step) noexcept nogil:
    cdef double now = seconds_of(CLOCK_MONOTONIC)
    if now - step.polled > 0.001 * POLL_EVERY:
        step.polled = now
        if poll_signals():
            store_flag(&step.leave, 1)


cdef inline int interrupted(const Shard *shard) noexcept nogil:
    """Whether to leave; the calling thread looks at the signals too."""
    cdef Step *step = <Step *>shard.step
    if shard.worker == step.caller:
        look_at_signals(step)
    return load_flag(&step.stop) or load_flag(&step.leave)


cdef inline Shard shard_of(const Step *step, int worker, int64_t s, float *gradient) noexcept nogil:
    cdef Shard shard
    cdef const Worker *leader = &step.workers[step.workers[worker].leader]
    cdef int64_t skipped = step.sequence[s] * step.time * 4      # bytes of 4-byte elements before this shard
    shard.base[ACTIVATIONS] = <float *>leader.arena + (s - leader.first_shard) * leader.arena_step
    shard.base[PARAMETERS] = <void *>step.parameters
    shard.base[PACKED] = step.packed
    shard.base[GRADIENT] = gradient
    shard.base[TOKENS] = step.tokens + skipped
    shard.base[TARGETS] = step.targets + skipped
    shard.base[WEIGHTS] = step.weights + skipped
    shard.base[LOSSES] = step.losses + skipped
    shard.scratch = step.workers[worker].scratch
    shard.shared = leader.scratch
    shard.phase = 0
    shard.n_sequences = step.sequence[s + 1] - step.sequence[s]
    shard.time = step.time
    shard.positions = <const int32_t *>(step.positions + skipped) if step.positions != NULL else NULL
    shard.first = step.first
    shard.sequence = step.sequence[s]
    shard.batch = step.batch
    shard.seed = step.seed
    shard.interrupted = interrupted
    shard.step = <void *>step
    shard.worker = worker
    shard.refused = <int64_t *>&step.refused
    shard.n_together, shard.together_step = 1, leader.arena_step
    shard.apart, shard.n_apart, shard.own, shard.own_step = NULL, 0, NULL, 0
    return shard


cdef inline double begin_event(Worker *worker, int64_t what, int64_t shard) noexcept nogil:
    note(&worker.doing, what)
    note(&worker.shard, shard)
    return seconds_of(CLOCK_MONOTONIC) if worker.events != NULL else 0.0


cdef inline void end_event(
    Worker *worker, int64_t what, int64_t shard, double begin, double waited, int64_t n_together=1,
) noexcept nogil:
    """An event is work: what it waited for others is left off its end. Shards that went together have even shares of it."""
    cdef Event *event
    cdef double each
    cdef int64_t i
    if worker.events == NULL:
        return
    each = (seconds_of(CLOCK_MONOTONIC) - waited - begin) / n_together
    for i in range(min(n_together, worker.max_events - worker.n_events)):
        event = &worker.events[worker.n_events]
        event.what, event.shard, event.begin, event.end = what, shard + i, begin + i * each, begin + (i + 1) * each
        worker.n_events += 1
