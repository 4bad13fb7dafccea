/* Clocks, and the seconds of processor time that each thread of a parallel region was at work. */
#ifndef CLLM_CLOCK_H
#define CLLM_CLOCK_H

#include <time.h>

static inline double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* busy: NULL where nobody asks; else thread t's sum is busy[8 * t], so that no two write to one cache line. */
static inline double work_begins(const double *busy) { return busy ? seconds_of(CLOCK_THREAD_CPUTIME_ID) : 0.0; }
static inline void work_ends(double *busy, int t, double begin, double waited)
{
    double seconds = busy ? seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin - waited : 0.0;
    if (seconds > 0.0) busy[8 * t] += seconds;
}

#endif
