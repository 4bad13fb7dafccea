"""The executors `permuted` and `adversarial`: the same step in an order that a race would not survive.

Which thread computes which part, who begins first, which shard comes when: src/cllm/disorder.py draws it anew for every
call. Here threads dawdle, before and after every meeting and at the beginning and end of all work. Where the step has
no disorder, each of these functions is one test of a pointer.
"""

from libc.stdint cimport int64_t, uint64_t

from cllm._kernels.step cimport Step, Worker, load_flag, note
from cllm._kernels.team cimport meet

cdef extern from "disorder.h" nogil:
    uint64_t roll(uint64_t *dice)
    void yield_core()
    void nap(int64_t microseconds)

cdef enum:
    # Of a thread that waits for its turn to begin: more would be of no use where threads come one after the other.
    PATIENCE = 2000


cdef inline int worker_of(const Step *step, int t) noexcept nogil:
    """Whose part thread t computes."""
    return t if step.disorder == NULL else step.disorder.workers[t]


cdef inline int64_t shard_at(const Step *step, int64_t s) noexcept nogil:
    """Which shard is run when it would be the turn of shard s."""
    return s if step.disorder == NULL or step.disorder.order == NULL else step.disorder.order[s]


cdef inline bint keeps_order(const Step *step) noexcept nogil:
    """Whether a run's shards come as they are numbered, so that neighbours can be merged at once."""
    return step.disorder == NULL or step.disorder.order == NULL


cdef inline void dawdle(const Step *step, Worker *own) noexcept nogil:
    if step.disorder != NULL:
        lose_time(step, own)


cdef inline void lose_time(const Step *step, Worker *own) noexcept nogil:
    """The slow one naps at every point; others nap, let another thread go first, or do neither."""
    cdef uint64_t drawn = roll(&own.dice)
    if own == &step.workers[step.disorder.slow] or drawn % 16 == 0:
        nap(1 + drawn // 16 % 40)
    elif drawn % 16 < 8:
        yield_core()


cdef inline void await_turn(Step *step, int w) noexcept nogil:
    """Workers begin in the order of their turns, as far as all are there."""
    cdef int i
    if step.disorder == NULL:
        return
    for i in range(PATIENCE):
        if load_flag(&step.n_started) >= step.disorder.turns[w]:
            return
        yield_core()


cdef inline int meet_team(Step *step, Worker *own, int status) noexcept nogil:
    """The worker's team meets: team.h."""
    cdef int outcome
    dawdle(step, own)
    note(&own.waits, own.n_parts > 1)
    outcome = meet(&step.meetings[own.leader], own.n_parts, status, &own.waited)
    note(&own.waits, 0)
    dawdle(step, own)
    return outcome
