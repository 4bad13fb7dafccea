/* The floating-point environment of a parallel region (numerics rule 7).
 *
 * A library that was built with fast-math may have switched one thread to flushing subnormals, or to another
 * rounding mode, and not the others. Every thread that enters saves its control word, computes with
 * round-to-nearest and subnormals kept, and puts the old word back when it leaves. */
#ifndef CLLM_FPENV_H
#define CLLM_FPENV_H

#include <stdint.h>

#if defined(__SSE__)
#include <xmmintrin.h>
static inline uint64_t fpenv_enter(void) { uint64_t saved = _mm_getcsr(); _mm_setcsr(0x1f80); return saved; }
static inline void fpenv_leave(uint64_t saved) { _mm_setcsr((unsigned)saved); }
#elif defined(__aarch64__)
static inline uint64_t fpenv_enter(void)
{
    uint64_t saved, standard = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(standard));
    return saved;
}
static inline void fpenv_leave(uint64_t saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved)); }
#else
static inline uint64_t fpenv_enter(void) { return 0; }
static inline void fpenv_leave(uint64_t saved) { (void)saved; }
#endif

/* To a compiler no operation depends on the environment: it would move what does not change in a loop out of it, and
 * on to before the entry, or a result's operation to behind the exit. It cannot look through these two. What is
 * computed in the environment from a number, or from what a pointer leads to, is computed from what they return. */
static inline double fpenv_value(double x) { __asm__ volatile("" : "+m"(x)); return x; }
static inline const void *fpenv_pointer(const void *p) { __asm__ volatile("" : "+r"(p) : : "memory"); return p; }

#endif
