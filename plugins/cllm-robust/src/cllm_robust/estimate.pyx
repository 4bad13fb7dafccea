# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Robust estimates of the sum of the shards' gradients: one arithmetic for the median and the trimmed mean.

Compiled against cllm's kernel ABI: `combine` runs in all threads of a step at once, without the GIL. Every element goes
its own way through + * /, comparing and sorting in float32, in an order that the number of shards alone decides: so
slices, threads and instruction sets change no bit.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t

from cllm_robust.abi cimport CLLM_ABI_MAJOR, CLLM_ABI_MINOR, CLLM_OK, cllm_reducer

cdef enum:
    BLOCK = 512        # elements of every shard that are sorted at a time: they stay in the first cache
    TOO_FEW = 1        # the one status of its own

cdef float NOT_A_NUMBER = float("nan")

cdef extern from *:
    """
    #include <stdint.h>
    /* The smaller of each two to low, the larger to high. In C, and just so, because compilers then see minps and maxps. */
    static void order(float *restrict low, float *restrict high, int64_t n)
    {
        for (int64_t i = 0; i < n; i++) {
            float a = low[i], b = high[i];
            low[i] = a < b ? a : b;
            high[i] = a > b ? a : b;
        }
    }
    """
    void order(float *low, float *high, int64_t n) nogil


cdef const char *describe(void *state, int32_t status) noexcept nogil:
    if status == TOO_FEW:
        return (
            b"trim leaves none of the shards with counted tokens, of which there must be more than 2 * trim; lower "
            b"[reducer] trim, raise [train] batch_size, or lower [train] micro_batch_size for more shards"
        )
    return NULL


cdef int64_t scratch(void *state, int64_t n_shards) noexcept nogil:
    """Rows (S + 1, BLOCK): the shards' means, and what is not finite."""
    return (n_shards + 1) * BLOCK


cdef int32_t combine(
    void *state, int64_t lo, int64_t hi, float *out, const float *const *gradients, const double *weights,
    int64_t n_shards, float *rows,
) noexcept nogil:
    """out OUT = (sum of weights) * trimmed mean over the shards of gradient / weight, element by element.

    A shard of weight 0 has no mean and is no vote; if there is no other, out is 0. An element that is NaN or infinite in
    any shard is NaN in out: it is a fault to be found, not an outlier to be sorted away.
    """
    cdef int64_t trim = (<const int64_t *>state)[0], n_counted = 0, s, begin, n
    cdef double total = 0.0
    for s in range(n_shards):
        total += weights[s]
        if weights[s] != 0.0:  # NaN counts, for it must not vanish
            n_counted += 1
    if trim < 0:
        trim = (n_counted - 1) // 2 if n_counted > 0 else 0
    elif 0 < n_counted <= 2 * trim:
        return TOO_FEW
    begin = 0
    while begin < hi - lo:
        n = min(<int64_t>BLOCK, hi - lo - begin)
        combine_block(out + begin, gradients, begin, weights, n_shards, n_counted, trim, <float>total, rows, n)
        begin += n
    return CLLM_OK


cdef void combine_block(
    float *out, const float *const *gradients, int64_t begin, const double *weights, int64_t n_shards, int64_t n_counted,
    int64_t trim, float total, float *rows, int64_t n,
) noexcept nogil:
    cdef float *wrong = rows + n_shards * BLOCK  # 0, or NaN where a shard is not finite
    cdef float *row = rows
    cdef float *first = rows + trim * BLOCK
    cdef float count = <float>(n_counted - 2 * trim), weight
    cdef int64_t i, s
    for i in range(n):
        wrong[i] = 0.0
    for s in range(n_shards):
        weight = <float>weights[s]
        if weights[s] == 0.0:
            add_differences(wrong, gradients[s] + begin, n)
        else:
            take_means(row, gradients[s] + begin, weight, n)
            add_differences(wrong, row, n)
            row += BLOCK
    sort_rows(rows, n_counted, n)
    for s in range(trim + 1, n_counted - trim):
        add_row(first, rows + s * BLOCK, n)
    for i in range(n):
        out[i] = first[i] / count * total if n_counted > 0 else <float>0.0
        out[i] = out[i] if wrong[i] == 0.0 else NOT_A_NUMBER


cdef void take_means(float *row, const float *gradient, float weight, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        # + 0 makes -0 to +0: the two compare as equal, so which comes first would depend on how they are sorted.
        row[i] = gradient[i] / weight + <float>0.0


cdef void add_differences(float *wrong, const float *row, int64_t n) noexcept nogil:
    """x - x is 0 of whatever is finite, and NaN of the rest."""
    cdef int64_t i
    for i in range(n):
        wrong[i] += row[i] - row[i]


cdef void add_row(float *first, const float *row, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        first[i] += row[i]


cdef void sort_rows(float *rows, int64_t n_rows, int64_t n) noexcept nogil:
    """Sort the first n elements of n_rows rows (BLOCK,), element by element, so that row 0 has the smallest of each.

    By Batcher's merge exchange (Knuth, The Art of Computer Programming, volume 3, section 5.2.2, algorithm M): 5
    comparisons for 4 rows, 19 for 8. Infinities sort; where a row has NaN, no order is promised.
    """
    cdef int64_t p = 1, q, top, r, distance, i
    while p < n_rows:
        p *= 2
    top = p // 2
    p = top
    while p > 0:
        q, r, distance = top, 0, p
        while True:
            for i in range(n_rows - distance):
                if i & p == r:
                    order(rows + i * BLOCK, rows + (i + distance) * BLOCK, n)
            if q == p:
                break
            distance, q, r = q - p, q // 2, p
        p //= 2


cdef class Estimate:
    """A compiled reducer, ready to be handed over; it lives as long as its capsule is used."""

    cdef cllm_reducer record
    cdef int64_t trim

    def __init__(self, trim=None):
        """trim: shards to leave out at each end; None: all but the one or two in the middle."""
        self.trim = -1 if trim is None else trim
        self.record.struct_size = sizeof(cllm_reducer)
        self.record.abi_major, self.record.abi_minor = CLLM_ABI_MAJOR, CLLM_ABI_MINOR
        self.record.state = &self.trim
        self.record.describe, self.record.combine, self.record.scratch = describe, combine, scratch

    def capsule(self):
        """What `__cllm_reducer__` returns; whoever opens it keeps this object alive."""
        return PyCapsule_New(&self.record, b"cllm.reducer", NULL)
