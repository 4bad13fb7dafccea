/* Which shared library the functions of OpenMP come from that a parallel region calls.
 *
 * A package that was imported before may have put an OpenMP runtime of its own where the linker looks first. If that one
 * is older, and lacks some of these functions, regions are run by one runtime and asked about by another: every thread
 * then takes itself for the only one. */
#ifndef CLLM_RUNTIME_H
#define CLLM_RUNTIME_H

#include <stddef.h>

#if defined(_OPENMP) && defined(__linux__)
#include <dlfcn.h>
#include <omp.h>

/* What the compiler calls by itself to begin a region. Data, for its type is the compiler's secret. */
#if defined(__clang__)
extern char region __asm__("__kmpc_fork_call");
#else
extern char region __asm__("GOMP_parallel");
#endif

#define N_OPENMP_FUNCTIONS 4
static const char *openmp_library(int i)
{
    const void *functions[N_OPENMP_FUNCTIONS] = {
        &region, (const void *)omp_get_thread_num, (const void *)omp_get_num_threads,
        (const void *)omp_pause_resource_all,
    };
    Dl_info found;
    return dladdr(functions[i], &found) ? found.dli_fname : NULL;
}
#else
#define N_OPENMP_FUNCTIONS 0
static const char *openmp_library(int i) { (void)i; return NULL; }
#endif

#endif
