"""Doors from Python to the elementary functions: float64 scalars, float32 arrays for tests and probes; and a deviation.

Addresses and sizes come checked from cllm.kernels. Every door sets the floating-point environment of numerics
rule 7: a library loaded elsewhere may have switched the calling thread to flushing subnormals.
"""

from libc.stdint cimport int64_t, uint64_t, uintptr_t

from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave, fpenv_value
from cllm._kernels.simd cimport sqrt

from cllm.errors import KernelError

cdef extern from "mathd.h" nogil:
    double d_exp(double x)
    double d_log(double x)
    double d_sin(double x)
    double d_cos(double x)
    double d_pow(double x, double y)
    double d_tanh(double x)
    double d_erf(double x)

cdef extern from *:
    """
    #include "mathf.h"

    typedef void (*Map)(float *out, const float *x, const float *y, int64_t n);

    #define MAP(name, result)                                                    \\
        static void name(float *out, const float *x, const float *y, int64_t n) \\
        {                                                                        \\
            for (int64_t i = 0; i < n; i += 16) {                                \\
                f16 a = f16_load_n(x + i, n - i), b = f16_load_n(y + i, n - i);  \\
                (void)b;                                                         \\
                f16_store_n(out + i, result, n - i);                             \\
            }                                                                    \\
        }
    MAP(map_exp, f16_exp(a))
    MAP(map_log, f16_log(a))
    MAP(map_tanh, f16_tanh(a))
    MAP(map_erf, f16_erf(a))
    MAP(map_sin, f16_sin(a))
    MAP(map_cos, f16_cos(a))
    MAP(map_rsqrt, f16_rsqrt(a))
    MAP(map_pow, f16_pow(a, b))

    static const struct { const char *name; Map map; int n_arguments; } MAPS[] = {
        {"exp", map_exp, 1}, {"log", map_log, 1}, {"tanh", map_tanh, 1}, {"erf", map_erf, 1},
        {"sin", map_sin, 1}, {"cos", map_cos, 1}, {"rsqrt", map_rsqrt, 1}, {"pow", map_pow, 2}};

    static Map find_map(const char *name, int n_arguments)
    {
        for (size_t i = 0; i < sizeof MAPS / sizeof *MAPS; i++)
            if (strcmp(MAPS[i].name, name) == 0 && MAPS[i].n_arguments == n_arguments) return MAPS[i].map;
        return NULL;
    }
    """
    ctypedef void (*Map)(float *out, const float *x, const float *y, int64_t n) noexcept nogil
    Map find_map(const char *name, int n_arguments) noexcept nogil


def map_float32(str name, uintptr_t out, uintptr_t x, int64_t n, uintptr_t y=0):
    """out (n,) float32 OUT = name(x) or name(x, y); x, y (n,) float32 IN. out may be x or y."""
    cdef bytes key = name.encode()
    cdef Map function = find_map(key, 2 if y else 1)
    cdef uint64_t saved
    if function == NULL:
        raise KernelError("map_float32", f"{name!r} of {2 if y else 1} arrays",
                          "exp, log, tanh, erf, sin, cos, rsqrt of one or pow of two", "check the name")
    with nogil:
        saved = fpenv_enter()
        function(<float *>out, <const float *>x, <const float *>(y or x), n)
        fpenv_leave(saved)


def exp64(double x):
    """e^x."""
    return call(d_exp, x)


def log64(double x):
    """The natural logarithm; -inf at 0, NaN below."""
    return call(d_log, x)


def sin64(double x):
    """sin x for any size of x, in radians."""
    return call(d_sin, x)


def cos64(double x):
    """cos x for any size of x, in radians."""
    return call(d_cos, x)


def tanh64(double x):
    """tanh x."""
    return call(d_tanh, x)


def erf64(double x):
    """The error function."""
    return call(d_erf, x)


def pow64(double x, double y):
    """x^y as C has it, but a NaN in either argument gives NaN."""
    cdef uint64_t saved = fpenv_enter()
    cdef double result = fpenv_value(d_pow(fpenv_value(x), fpenv_value(y)))
    fpenv_leave(saved)
    return result


def mean_and_deviation(uintptr_t values, int64_t n):
    """Mean and standard deviation of values (n,) float64 IN, n >= 2, of chains in float64."""
    cdef const double *x = <const double *>values
    cdef uint64_t saved = fpenv_enter()
    cdef double total = 0.0, squares = 0.0, mean, deviation
    cdef int64_t i
    for i in range(n):
        total += x[i]
    mean = fpenv_value(total / <double>n)
    for i in range(n):
        squares += (x[i] - mean) * (x[i] - mean)
    deviation = fpenv_value(sqrt(squares / <double>(n - 1)))
    fpenv_leave(saved)
    return mean, deviation


cdef double call(double (*function)(double) noexcept nogil, double x) noexcept nogil:
    cdef uint64_t saved = fpenv_enter()
    cdef double result = fpenv_value(function(fpenv_value(x)))
    fpenv_leave(saved)
    return result
