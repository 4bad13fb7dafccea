/* What this processor can do at the most: the loops that a benchmark divides by. */
#ifndef CLLM_PEAK_H
#define CLLM_PEAK_H

#include "simd.h"

/* Enough independent chains to hide the latency of a fused multiply-add on two or more units, within the registers. */
#if LANES == 16
#define CHAINS 24
#else
#define CHAINS 12
#endif

/* n rounds of CHAINS fused multiply-adds from registers to registers. */
static void fma_rounds(long n)
{
    vf chain[CHAINS], factor = vf_set1(0.9990234375f), term = vf_set1(0.001f);
    for (int i = 0; i < CHAINS; i++) chain[i] = vf_set1(1.0f + (float)i);
    for (long k = 0; k < n; k++) {
#pragma GCC unroll 24
        for (int i = 0; i < CHAINS; i++) chain[i] = vf_fma(chain[i], factor, term);
    }
    vf sum = vf_set1(0.0f);
    for (int i = 0; i < CHAINS; i++) sum += chain[i];
    volatile float seen = sum[0]; /* or the compiler would see that nobody needs it */
    (void)seen;
}

/* a (n,) OUT = b (n,) + c (n,): STREAM's addition, three arrays that go by once. */
static void stream_add(float *a, const float *b, const float *c, long n)
{
    for (long i = 0; i + LANES <= n; i += LANES) vf_store(a + i, vf_load(b + i) + vf_load(c + i));
}

#endif
