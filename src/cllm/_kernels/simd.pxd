"""The vector primitives of simd.h, the register tile of tile.h and the functions of mathf.h."""

from libc.stdint cimport int64_t


cdef extern from "simd.h" nogil:
    ctypedef struct f16:
        pass
    f16 f16_set1(float x)
    f16 f16_load(const float *p)
    f16 f16_load_n(const float *p, long n)
    void f16_store(float *p, f16 a)
    void f16_store_n(float *p, f16 a, long n)
    f16 f16_add(f16 a, f16 b)
    f16 f16_sub(f16 a, f16 b)
    f16 f16_mul(f16 a, f16 b)
    f16 f16_div(f16 a, f16 b)
    f16 f16_sqrt(f16 a)
    f16 f16_fma(f16 a, f16 b, f16 c)
    f16 f16_max(f16 a, f16 b)
    f16 f16_first(f16 a, long n, float rest)
    f16 f16_at_most(f16 a, float bound)
    f16 f16_flush_below(f16 a, float bound)
    f16 f16_sign(f16 a)
    float f16_sum(f16 a)
    float f16_largest(f16 a)
    float sqrtf "__builtin_sqrtf"(float x)
    float fmaf "__builtin_fmaf"(float a, float b, float c)
    double sqrt "__builtin_sqrt"(double x)
    double fma "__builtin_fma"(double a, double b, double c)


cdef extern from "mathf.h" nogil:
    f16 f16_exp(f16 x)
    f16 f16_log(f16 x)
    f16 f16_tanh(f16 x)
    f16 f16_erf(f16 x)


cdef extern from "tile.h" nogil:
    enum: TILE_ROWS, TILE_COLUMNS, ROW_COLUMNS
    void tile_product(long rows, long columns, long depth,
                      float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                      const float *start, long start_row)
    void tile_then_lower(long rows, long columns, long depth,
                         float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                         const float *start, long start_row)
    void tile_upper_then(long rows, long columns, long depth,
                         float *c, long c_row, const float *a, long a_row, long a_step, const float *b,
                         const float *start, long start_row)
    void tile_row(long columns, long depth, float *c, const float *a, const float *b, long b_step, long b_panel,
                  const float *start)
    void tile_pack(float *panel, const float *b, long depth, long columns, long depth_step, long column_step)
    void tile_pack_turned(float *out, const float *x, long depth, long height, long x_row)
    void tile_sum(long rows, long columns, float *c, long c_row, const float *a, const float *b)
    void tile_expect(const float *p, long rows, long p_row)
