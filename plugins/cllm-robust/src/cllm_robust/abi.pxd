"""The kernel ABI, as a package's Cython sees it: `from cllm._kernels.abi cimport cllm_reducer`.

What the fields and functions mean, and the contract, stand in the header; its folder is `cllm.get_include()`.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t


cdef extern from "cllm/kernel_abi.h" nogil:
    enum: CLLM_ABI_MAJOR, CLLM_ABI_MINOR, CLLM_CHUNK, CLLM_CHECK_IF_NONFINITE
    enum: CLLM_OK, CLLM_AGAIN, CLLM_STOPPED

    ctypedef struct cllm_reducer:
        uint32_t struct_size
        uint16_t abi_major
        uint16_t abi_minor
        uint64_t flags
        void *state
        const char *(*describe)(void *state, int32_t status) noexcept nogil
        int32_t (*merge)(void *state, int64_t lo, int64_t hi, float *left, const float *right) noexcept nogil
        int32_t (*finish)(void *state, int64_t lo, int64_t hi, float *total, int64_t n_shards) noexcept nogil
        int32_t (*combine)(
            void *state, int64_t lo, int64_t hi, float *out, const float *const *gradients, const double *weights,
            int64_t n_shards, float *scratch,
        ) noexcept nogil
        int64_t (*scratch)(void *state, int64_t n_shards) noexcept nogil

    ctypedef struct cllm_check:
        uint32_t struct_size
        uint16_t abi_major
        uint16_t abi_minor
        uint64_t flags
        void *state
        const char *(*describe)(void *state, int32_t status) noexcept nogil
        int64_t n_partial
        int64_t n_found
        int32_t (*scan)(void *state, int64_t lo, int64_t hi, const float *gradient, double *partial) noexcept nogil
        int32_t (*finish)(void *state, int64_t n_chunks, const double *partials, double *found) noexcept nogil

    ctypedef struct cllm_op_call:
        uint32_t struct_size
        uint32_t n_slots
        int64_t part
        int64_t n_parts
        int64_t phase
        int64_t n_sequences
        int64_t time
        int64_t first
        void *const *value
        float *const *gradient
        uint64_t add
        const int64_t *size
        const double *number
        float *scratch
        float *shared
        const int32_t *positions
        int64_t op
        int64_t sequence
        int64_t batch
        int64_t seed
        int (*interrupted)(const cllm_op_call *call) noexcept nogil
        const void *host

    ctypedef struct cllm_op:
        uint32_t struct_size
        uint16_t abi_major
        uint16_t abi_minor
        uint64_t flags
        void *state
        const char *(*describe)(void *state, int32_t status) noexcept nogil
        int32_t (*forward)(void *state, const cllm_op_call *call) noexcept nogil
        int32_t (*backward)(void *state, const cllm_op_call *call) noexcept nogil

    int64_t cllm_part_begin(int64_t n, int64_t grain, int64_t part, int64_t n_parts)
    bint cllm_adds(const cllm_op_call *call, int slot)
