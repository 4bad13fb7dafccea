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

/* Compilers call these by themselves; gcc the first, clang the second. Data, for their types are the compiler's secret. */
extern char region_of_gcc __asm__("GOMP_parallel") __attribute__((weak));
extern char region_of_clang __asm__("__kmpc_fork_call") __attribute__((weak));

#define N_OPENMP_FUNCTIONS 5
static const char *openmp_library(int i)
{
    const void *functions[N_OPENMP_FUNCTIONS] = {
        &region_of_gcc, &region_of_clang, (const void *)omp_get_thread_num, (const void *)omp_get_num_threads,
        (const void *)omp_pause_resource_all,
    };
    Dl_info found;
    return functions[i] && dladdr(functions[i], &found) ? found.dli_fname : NULL;
}
#else
#define N_OPENMP_FUNCTIONS 0
static const char *openmp_library(int i) { (void)i; return NULL; }
#endif

#endif
