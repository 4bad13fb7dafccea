"""Optimizer updates, in place over flat float32 arrays; one call for all parameters.

A segment is a run of elements that share weight decay and learning-rate scale. All updates return whether all that they
have written to the parameters is finite: each value, times 0, is added to a sum that is then 0, or else NaN.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uintptr_t

from cllm._kernels.op cimport part_begin, place_begin
from cllm._kernels.parallel cimport fpenv_enter, fpenv_leave, fpenv_pointer, fpenv_value, work_begins, work_ends
from cllm._kernels.simd cimport (
    f16, f16_add, f16_div, f16_flush_below, f16_fma, f16_load_n, f16_mul, f16_set1, f16_sign, f16_sqrt, f16_store_n,
    f16_sub, f16_sum,
)

cdef enum:
    MAX_THREADS = 1024  # MOST_THREADS of cllm/env.py

# Moments smaller than 2^-100 become +0, so that they do not rest among the subnormals (numerics rule 7).
cdef float SMALLEST_MOMENT = 7.888609052210118e-31


cdef struct Segment:
    int64_t offset
    int64_t size
    double decay                 # weight decay of this segment
    double learning_rate_scale


# How an update is made. Each thread rounds the numbers to float32, in the floating-point environment that it has set.
cdef struct AdamW:
    double beta1, beta2, epsilon, gradient_scale
    double learning_rate, correction1, correction2    # corrections are 1 - beta^t


cdef struct SGD:
    double learning_rate, momentum, gradient_scale


cdef struct Lion:
    double learning_rate, beta1, beta2, gradient_scale


# p (n,) of one segment, and what moments there are, are updated; what is written to p, times 0, is added to zeros.
ctypedef void (*Update)(
    const void *how, const Segment *segment, float *p, const float *g, float *m, float *v, int64_t n, f16 *zeros,
) noexcept nogil


SEGMENT_SIZE = sizeof(Segment)


cdef bint update(
    Update run, const void *how, uintptr_t parameters, uintptr_t gradient, uintptr_t first, uintptr_t second,
    uintptr_t segments, int n_segments, int n_threads, uintptr_t busy,
):
    """All segments, shared by place; first and second are moments, or 0. Whether all that was written is finite."""
    cdef float[MAX_THREADS] left
    cdef int t
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        update_part(
            run, how, <float *>parameters, <const float *>gradient, <float *>first, <float *>second,
            <const Segment *>segments, n_segments, t, n_threads, &left[t], <double *>busy,
        )
    return are_zero(left, n_threads)


cdef bint are_zero(const float *left, int n) noexcept:
    cdef int t
    for t in range(n):
        if not left[t] == 0.0:
            return False
    return True


cdef inline int64_t slice_begin(const Segment *segments, int n_segments, int s, int part, int n_parts) noexcept nogil:
    """Where in segment s the part's slice of all of them begins."""
    cdef const Segment *last = &segments[n_segments - 1]
    return place_begin(
        segments[s].size, 1, segments[s].offset, segments[s].size, last.offset + last.size, part, n_parts,
    )


cdef void update_part(
    Update run, const void *how, float *p, const float *g, float *m, float *v, const Segment *segments, int n_segments,
    int part, int n_parts, float *left, double *busy,
) noexcept nogil:
    cdef unsigned long long saved = fpenv_enter()
    cdef double started = work_begins(busy)
    cdef f16 zeros = f16_set1(0.0)
    cdef int s
    cdef int64_t begin, n, offset
    for s in range(n_segments):
        begin = slice_begin(segments, n_segments, s, part, n_parts)
        n = slice_begin(segments, n_segments, s, part + 1, n_parts) - begin
        offset = segments[s].offset + begin
        run(
            fpenv_pointer(how), &segments[s], p + offset, g + offset, m + offset if m != NULL else NULL,
            v + offset if v != NULL else NULL, n, &zeros,
        )
    left[0] = f16_sum(zeros)
    work_ends(busy, part, started, 0.0)
    fpenv_leave(saved)


def adamw(
    uintptr_t parameters, uintptr_t gradient, uintptr_t first, uintptr_t second, uintptr_t segments, int n_segments,
    double learning_rate, double beta1, double beta2, double epsilon, double correction1, double correction2,
    double gradient_scale, int n_threads, uintptr_t busy,
):
    """AdamW (Loshchilov and Hutter 2019, algorithm 2): parameters, first, second (n,) are updated in place."""
    cdef AdamW a
    a.beta1, a.beta2, a.epsilon, a.gradient_scale = beta1, beta2, epsilon, gradient_scale
    a.learning_rate, a.correction1, a.correction2 = learning_rate, correction1, correction2
    return update(adamw_run, &a, parameters, gradient, first, second, segments, n_segments, n_threads, busy)


cdef void adamw_run(
    const void *how, const Segment *segment, float *p, const float *g, float *m, float *v, int64_t n, f16 *zeros,
) noexcept nogil:
    """m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; p -= lr (m / c1 / (sqrt(v / c2) + eps) + decay p)."""
    cdef const AdamW *a = <const AdamW *>how
    cdef double rate = a.learning_rate * segment.learning_rate_scale
    cdef f16 step = f16_set1(<float>(-rate / a.correction1)), shrink = f16_set1(<float>(-rate * segment.decay))
    cdef f16 second = f16_set1(<float>(1.0 / a.correction2)), epsilon = f16_set1(<float>a.epsilon)
    cdef f16 beta1 = f16_set1(<float>a.beta1), rest1 = f16_set1(<float>1.0 - <float>a.beta1)
    cdef f16 beta2 = f16_set1(<float>a.beta2), rest2 = f16_set1(<float>1.0 - <float>a.beta2)
    cdef f16 scale = f16_set1(<float>a.gradient_scale), gradient, moment1, moment2, value
    cdef f16 zero = f16_set1(0.0), sum = zeros[0]
    cdef int64_t i
    for i in range(0, n, 16):
        gradient = f16_mul(f16_load_n(g + i, n - i), scale)
        moment1 = f16_fma(beta1, f16_load_n(m + i, n - i), f16_mul(rest1, gradient))
        moment2 = f16_fma(beta2, f16_load_n(v + i, n - i), f16_mul(rest2, f16_mul(gradient, gradient)))
        moment1 = f16_flush_below(moment1, SMALLEST_MOMENT)
        moment2 = f16_flush_below(moment2, SMALLEST_MOMENT)
        value = f16_load_n(p + i, n - i)
        value = f16_fma(shrink, value, value)
        value = f16_fma(step, f16_div(moment1, f16_add(f16_sqrt(f16_mul(moment2, second)), epsilon)), value)
        f16_store_n(m + i, moment1, n - i)
        f16_store_n(v + i, moment2, n - i)
        f16_store_n(p + i, value, n - i)
        sum = f16_fma(zero, value, sum)
    zeros[0] = sum


def sgd(
    uintptr_t parameters, uintptr_t gradient, uintptr_t velocity, uintptr_t segments, int n_segments,
    double learning_rate, double momentum, double gradient_scale, int n_threads, uintptr_t busy,
):
    """SGD with momentum: velocity = momentum * velocity + g + decay * p; p -= lr * velocity; in place.

    velocity may be 0 (none); then p -= lr * (g + decay * p).
    """
    cdef SGD a
    a.learning_rate, a.momentum, a.gradient_scale = learning_rate, momentum, gradient_scale
    return update(sgd_run, &a, parameters, gradient, velocity, 0, segments, n_segments, n_threads, busy)


cdef void sgd_run(
    const void *how, const Segment *segment, float *p, const float *g, float *m, float *v, int64_t n, f16 *zeros,
) noexcept nogil:
    """m = momentum m + g + decay p, where there is an m; p -= lr m."""
    cdef const SGD *a = <const SGD *>how
    cdef f16 step = f16_set1(<float>(-a.learning_rate * segment.learning_rate_scale))
    cdef f16 decay = f16_set1(<float>segment.decay), momentum = f16_set1(<float>a.momentum)
    cdef f16 scale = f16_set1(<float>a.gradient_scale)
    cdef f16 value, direction, zero = f16_set1(0.0), sum = zeros[0]
    cdef int64_t i
    for i in range(0, n, 16):
        value = f16_load_n(p + i, n - i)
        direction = f16_fma(decay, value, f16_mul(f16_load_n(g + i, n - i), scale))
        if m != NULL:
            direction = f16_fma(momentum, f16_load_n(m + i, n - i), direction)
            direction = f16_flush_below(direction, SMALLEST_MOMENT)
            f16_store_n(m + i, direction, n - i)
        value = f16_fma(step, direction, value)
        f16_store_n(p + i, value, n - i)
        sum = f16_fma(zero, value, sum)
    zeros[0] = sum


def lion(
    uintptr_t parameters, uintptr_t gradient, uintptr_t momentum, uintptr_t segments, int n_segments,
    double learning_rate, double beta1, double beta2, double gradient_scale, int n_threads, uintptr_t busy,
):
    """Lion (Chen et al. 2023, algorithm 2): parameters and momentum (n,) are updated in place."""
    cdef Lion a
    a.learning_rate, a.beta1, a.beta2, a.gradient_scale = learning_rate, beta1, beta2, gradient_scale
    return update(lion_run, &a, parameters, gradient, momentum, 0, segments, n_segments, n_threads, busy)


cdef void lion_run(
    const void *how, const Segment *segment, float *p, const float *g, float *m, float *v, int64_t n, f16 *zeros,
) noexcept nogil:
    """p -= lr (sign(b1 m + (1-b1) g) + decay p); m = b2 m + (1-b2) g."""
    cdef const Lion *a = <const Lion *>how
    cdef double rate = a.learning_rate * segment.learning_rate_scale
    cdef f16 step = f16_set1(<float>-rate), shrink = f16_set1(<float>(-rate * segment.decay))
    cdef f16 beta1 = f16_set1(<float>a.beta1), rest1 = f16_set1(<float>1.0 - <float>a.beta1)
    cdef f16 beta2 = f16_set1(<float>a.beta2), rest2 = f16_set1(<float>1.0 - <float>a.beta2)
    cdef f16 scale = f16_set1(<float>a.gradient_scale), gradient, moment, value, direction
    cdef f16 zero = f16_set1(0.0), sum = zeros[0]
    cdef int64_t i
    for i in range(0, n, 16):
        gradient = f16_mul(f16_load_n(g + i, n - i), scale)
        moment = f16_load_n(m + i, n - i)
        direction = f16_sign(f16_fma(beta1, moment, f16_mul(rest1, gradient)))
        moment = f16_fma(beta2, moment, f16_mul(rest2, gradient))
        value = f16_load_n(p + i, n - i)
        value = f16_fma(shrink, value, value)
        value = f16_fma(step, direction, value)
        f16_store_n(m + i, f16_flush_below(moment, SMALLEST_MOMENT), n - i)
        f16_store_n(p + i, value, n - i)
        sum = f16_fma(zero, value, sum)
    zeros[0] = sum


def average(uintptr_t mean, uintptr_t parameters, int64_t n, double weight, int n_threads, uintptr_t busy):
    """mean (n,) += weight * (parameters (n,) - mean); the weight is rounded to float32 first."""
    cdef float *m = <float *>mean
    cdef const float *p = <const float *>parameters
    cdef int t
    for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1, nogil=True):
        average_part(m, p, weight, n, t, n_threads, <double *>busy)


cdef void average_part(
    float *m, const float *p, double weight, int64_t n, int part, int n_parts, double *busy,
) noexcept nogil:
    cdef int64_t i, begin = part_begin(n, 16, part, n_parts), end = part_begin(n, 16, part + 1, n_parts)
    cdef unsigned long long saved = fpenv_enter()
    cdef double started = work_begins(busy)
    cdef f16 rounded = f16_set1(<float>fpenv_value(weight)), mean
    for i in range(begin, end, 16):
        mean = f16_load_n(m + i, end - i)
        f16_store_n(m + i, f16_fma(rounded, f16_sub(f16_load_n(p + i, end - i), mean), mean), end - i)
    work_ends(busy, part, started, 0.0)
    fpenv_leave(saved)
