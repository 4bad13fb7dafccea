/* memcpy and memset as ThreadSanitizer sees them: included before every kernel of the race build.
 *
 * The sanitizer knows of them by its own memcpy and memset, and these it must be told to pass over where libraries that
 * it has not compiled call them (ignore_noninstrumented_modules), for CPython is one. Under Linux it then takes every
 * library for such a one, and a race in a memcpy of ours would go unseen. */
#ifndef CLLM_SEEN_H
#define CLLM_SEEN_H

#include <string.h>

extern void __tsan_read_range(const void *from, unsigned long n);
extern void __tsan_write_range(void *to, unsigned long n);

static inline void *seen_memcpy(void *to, const void *from, size_t n)
{
    __tsan_read_range(from, n);
    __tsan_write_range(to, n);
    return memcpy(to, from, n);
}

static inline void *seen_memset(void *to, int byte, size_t n)
{
    __tsan_write_range(to, n);
    return memset(to, byte, n);
}

#define memcpy seen_memcpy
#define memset seen_memset

#endif
