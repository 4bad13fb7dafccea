"""What this processor and this build can do, and the floating-point environment of the calling thread."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t, uintptr_t

from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave

cdef extern from "runtime.h":
    const int N_OPENMP_FUNCTIONS
    const char *openmp_library(int i)

cdef extern from *:
    """
    #if defined(_OPENMP)
    #include <omp.h>
    static int openmp_version(void) { return _OPENMP; }
    static int openmp_threads(void) { return omp_get_max_threads(); }
    #if defined(__clang__)
    /* LLVM's runtime sees to forks by itself, and a child that forked from a paused one fails in its settings. */
    static void openmp_pause(void) { }
    #else
    /* libgomp's pool does not survive a fork: a child that enters a region would wait for threads it does not have. */
    static void openmp_pause(void) { omp_pause_resource_all(omp_pause_hard); }
    #endif
    #else
    static int openmp_version(void) { return 0; }
    static int openmp_threads(void) { return 1; }
    static void openmp_pause(void) { }
    #endif

    #if defined(__x86_64__)
    static int has_v3(void)
    {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
            && __builtin_cpu_supports("bmi2");
    }
    static int has_bf16(void) { __builtin_cpu_init(); return __builtin_cpu_supports("avx512bf16"); }
    static int has_v4(void)
    {
        return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int has_v3(void) { return 0; }
    static int has_v4(void) { return 0; }
    static int has_bf16(void) { return 0; }
    #endif

    #if defined(__OPTIMIZE__)
    #define OPTIMISED 1
    #else
    #define OPTIMISED 0
    #endif
    #if defined(CLLM_FREED)
    #define FREED 1
    #else
    #define FREED 0
    #endif
    #if defined(CLLM_CHECKED)
    #define CHECKED 1
    #else
    #define CHECKED 0
    #endif
    #if defined(Py_LIMITED_API)
    #define LIMITED 1
    #else
    #define LIMITED 0
    #endif
    """
    int c_openmp_version "openmp_version" ()
    int c_openmp_threads "openmp_threads" ()
    void openmp_pause()
    int has_v3()
    int has_v4()
    int has_bf16()
    const int OPTIMISED
    const int LIMITED
    const int FREED
    const int CHECKED


def instruction_sets():
    """The instruction sets that this processor runs, best first."""
    sets = ["portable"]
    if has_v3():
        sets.insert(0, "v3")
    if has_v4():
        sets.insert(0, "v4")
    return sets


def bf16():
    """Whether this processor multiplies bfloat16 by AVX512-BF16."""
    return bool(has_bf16())


def openmp():
    """OpenMP's version (yyyymm) of this build; 0 where it is serial."""
    return c_openmp_version()


def openmp_threads():
    """The threads that OpenMP would use by itself."""
    return c_openmp_threads()


def pause():
    """Before a fork: ends the thread pool of a runtime that would not survive it; the next region starts another."""
    openmp_pause()


def openmp_libraries():
    """The files that the functions of OpenMP in use come from, each once; empty where that cannot be asked."""
    found = {openmp_library(i) for i in range(N_OPENMP_FUNCTIONS) if openmp_library(i) is not NULL}
    return sorted(name.decode("utf-8", "surrogateescape") for name in found)


def optimised():
    """Whether the compiler optimised this build."""
    return bool(OPTIMISED)


def limited_api():
    """Whether this build uses CPython's stable ABI."""
    return bool(LIMITED)


def address_of(array):
    """Where a contiguous array begins; asked a dozen times a step, and `array.ctypes.data` takes a microsecond each."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    cdef uintptr_t address = <uintptr_t>view.buf
    PyBuffer_Release(&view)
    return address


def freed():
    """Whether the compiler was let off the numerics specification, as only a benchmark's build is."""
    return bool(FREED)


def checked():
    """Whether this is a build that looks for mistakes, and makes them on request, as only a test's is."""
    return bool(CHECKED)


def enter_floats():
    """Sets the calling thread to rounding to nearest with subnormals kept; returns what was set before."""
    return fpenv_enter()


def leave_floats(uint64_t saved):
    """Puts back what enter_floats returned."""
    fpenv_leave(saved)
