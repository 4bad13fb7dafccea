/* Where the threads of a team, which share one shard, meet between two ops.
 *
 * They are all at the same op, so whoever is early waits for a few microseconds: it spins, and only if that lasts does
 * it let others have the core. Nobody leaves a meeting before all have come, and all leave with the same status. */
#ifndef CLLM_TEAM_H
#define CLLM_TEAM_H

#include <sched.h>
#include <stdint.h>
#include <time.h>

#include "clock.h"
#include "op.h"

#if defined(_OPENMP)
#include <omp.h>
static inline int region_threads(void) { return omp_get_num_threads(); }
#else
static inline int region_threads(void) { return 1; }
#endif

#define SPINS 2000    /* some tens of microseconds */
#define YIELDING 5e-4 /* seconds, then others may have the core for longer */

typedef struct {
    int64_t n_come, round;
    int64_t refused;    /* the first status by which a member ends the call; stays until it has ended */
    int64_t outcome[2]; /* of the last even and the last odd round: a later one may be under way when it is read */
    int64_t unused[3];  /* no two teams write to one cache line */
} Meeting;

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until all have come; returns the seconds of processor time that waiting took.
 *
 * Who yields is ready to run, and among other programs' threads that keeps the core from those that are waited for: a
 * yield comes back only after another's time slice. So yields are counted by the clock. */
static inline double wait_for_round(Meeting *m, int64_t round)
{
    double begin = seconds_of(CLOCK_THREAD_CPUTIME_ID), end = 0.0;
    for (int i = 0; __atomic_load_n(&m->round, __ATOMIC_ACQUIRE) == round; i++) {
        struct timespec nap = {0, 100000};
        if (i == SPINS) end = seconds_of(CLOCK_MONOTONIC) + YIELDING;
        if (i < SPINS) relax();
        else if (seconds_of(CLOCK_MONOTONIC) < end) sched_yield();
        else nanosleep(&nap, NULL);
    }
    return seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin;
}

/* Every one of n members comes with the status of its part; returns what ends the call for all of them, if one came
 * with that, and otherwise the status itself, DONE or AGAIN, which is everybody's. */
static inline int meet(Meeting *m, int64_t n, int status, double *waited)
{
    int64_t round, none = DONE, outcome;
    if (n == 1) return status;
    round = __atomic_load_n(&m->round, __ATOMIC_ACQUIRE);
    if (status != DONE && status != AGAIN)
        __atomic_compare_exchange_n(&m->refused, &none, status, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&m->n_come, 1, __ATOMIC_ACQ_REL) == n) {
        m->outcome[round & 1] = __atomic_load_n(&m->refused, __ATOMIC_ACQUIRE);
        m->n_come = 0;
        __atomic_store_n(&m->round, round + 1, __ATOMIC_RELEASE);
    } else {
        *waited += wait_for_round(m, round);
    }
    outcome = m->outcome[round & 1];
    return outcome != DONE ? (int)outcome : status;
}

#endif
