"""The records of op.h, as the kernels see them."""

from libc.stdint cimport int32_t, int64_t


cdef extern from "op.h" nogil:
    enum: NOWHERE, ACTIVATIONS, PARAMETERS, PACKED, GRADIENT, TOKENS, TARGETS, WEIGHTS, LOSSES, N_SPACES
    enum: DONE, BAD_TOKEN, STOPPED, AGAIN, REFUSED
    enum: MAX_SLOTS, MAX_SIZES, MAX_NUMBERS
    enum: MOST_ROWS_TOGETHER, MOST_TOGETHER, MOST_LEVELS

    ctypedef struct Slot:
        int64_t space
        int64_t offset

    ctypedef struct Op:
        int64_t id
        int64_t add
        int64_t size[8]
        double number[4]
        const void *foreign
        int64_t n_slots
        int64_t together

    ctypedef struct Shard:
        void *base[8]
        float *scratch
        float *shared
        int64_t phase
        int64_t n_sequences
        int64_t time
        const int32_t *positions
        int64_t first
        int64_t sequence
        int64_t batch
        int64_t seed
        int (*interrupted)(const Shard *shard) noexcept nogil
        void *step
        int64_t worker
        int64_t *refused
        int64_t n_together
        int64_t together_step
        const int64_t *apart
        int64_t n_apart
        float *own
        int64_t own_step

    ctypedef int (*Kernel)(const Op *op, const Shard *shard, int64_t part, int64_t n_parts) noexcept nogil

    Kernel kernel_of(const Op *op, bint backward)

    float *value_of(const Op *op, const Shard *shard, int slot)
    int32_t *integers_of(const Op *op, const Shard *shard, int slot)
    float *gradient_of(const Op *op, const Shard *shard, int slot)
    const float *packed_of(const Op *op, const Shard *shard, int slot)
    const float *transposed_of(const Op *op, const Shard *shard, int slot)
    bint adds_to(const Op *op, int slot)
    int64_t position_of(const Shard *shard, int64_t row)
    int64_t document_end(const Shard *shard, int64_t sequence, int64_t begin)
    int64_t part_begin(int64_t n, int64_t grain, int64_t part, int64_t n_parts)
    int64_t place_begin(
        int64_t n, int64_t grain, int64_t offset, int64_t size, int64_t total, int64_t part, int64_t n_parts,
    )
