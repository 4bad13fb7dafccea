"""bfloat16 tiles and conversions of bf16.h."""

from libc.stdint cimport uint32_t


cdef extern from "bf16.h" nogil:
    ctypedef uint32_t pair

    ctypedef void PairTile(
        long rows, long columns, long n_pairs, float *c, long c_row, const pair *a, long a_row, long a_step,
        const pair *b, const float *start, long start_row,
    ) noexcept nogil

    ctypedef struct Bf16:
        PairTile *tile
        void (*along)(pair *out, const float *a, long rows, long depth, long a_row) noexcept nogil
        void (*across)(pair *out, long out_row, const float *a, long rows, long columns, long a_row) noexcept nogil
        void (*pack)(pair *panel, const float *b, long depth, long columns, long depth_step, long column_step) noexcept nogil

    ctypedef struct Bf16Triangles:
        PairTile *then_lower[2]
        PairTile *upper_then[2]

    const Bf16 bf16_emulated
    const Bf16 bf16_native
    const Bf16Triangles bf16_emulated_triangles
    const Bf16Triangles bf16_native_triangles
