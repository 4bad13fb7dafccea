/* How a thread loses time on purpose: disorder.pxd. Its dice decide when, never what is computed. */
#ifndef CLLM_DISORDER_H
#define CLLM_DISORDER_H

#include <sched.h>
#include <stdint.h>
#include <time.h>

/* splitmix64 (Steele, Lea and Flood 2014). */
static inline uint64_t roll(uint64_t *dice)
{
    uint64_t z = *dice += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void yield_core(void) { sched_yield(); }

static inline void nap(int64_t microseconds)
{
    struct timespec time = {0, 1000 * microseconds};
    nanosleep(&time, NULL);
}

#endif
