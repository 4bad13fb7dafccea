/* bfloat16 tiles and conversions, see bf16.h: with AVX512-BF16's instructions where the compiler may use them. */
#include "bf16.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define WORD pair
#define REGISTER vi
#define SPREAD(p) vi_set1((int32_t)*(p))
#define LOAD(p) vp_load(p)
#define FIRST_OF_PAIR(x) ((x) & vi_set1(0xffff))
#define SECOND_OF_PAIR(x) ((x) & vi_set1((int32_t)0xffff0000))

INLINE vi vp_load(const pair *p) { vi v; memcpy(&v, p, sizeof v); return v; }
INLINE void vp_store(pair *p, vi v) { memcpy(p, &v, sizeof v); }

#if defined(__AVX512BF16__)

#define BF16 bf16_native
#define TRIANGLES bf16_native_triangles
#define MULTIPLY_ADD(a, b, sum) (vf)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(a), (__m512bh)(b))

/* 2 LANES floats in their order, rounded. */
INLINE vi pairs_along(const float *p)
{
    return (vi)_mm512_cvtne2ps_pbh((__m512)vf_load(p + LANES), (__m512)vf_load(p));
}

/* Lane i: the pair of both lanes i. */
INLINE vi pairs_across(vf even, vf odd)
{
    const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                         23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return (vi)_mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even));
}

/* The instructions heed no control word. */
INLINE uint64_t flushing_begins(void) { return 0; }
INLINE void flushing_ends(uint64_t saved) { (void)saved; }

#else

#define BF16 bf16_emulated
#define TRIANGLES bf16_emulated_triangles
#define MULTIPLY_ADD(a, b, sum) vf_fma(even_of(a), even_of(b), vf_fma(odd_of(a), odd_of(b), sum))

INLINE vf even_of(vi a) { return (vf)((vu)a << 16); }
INLINE vf odd_of(vi a) { return (vf)SECOND_OF_PAIR(a); }

/* To nearest, ties to even, in the upper half; subnormals become signed zeros, and a NaN stays one. */
INLINE vu rounded(vf x)
{
    const vu u = (vu)x, one = (vu)vi_set1(1);
    const vi zero = (u & (vu)vi_set1(0x7f800000)) == 0;
    const vf near = (vf)(u + (vu)vi_set1(0x7fff) + (u >> 16 & one)), nan = (vf)(u | (vu)vi_set1(0x400000));
    return (vu)vf_select(zero, (vf)(u & (vu)vi_set1((int32_t)0x80000000)), vf_select(x == x, near, nan));
}

INLINE vi pairs_across(vf even, vf odd)
{
    return (vi)(rounded(even) >> 16 | (rounded(odd) & (vu)vi_set1((int32_t)0xffff0000)));
}

INLINE vi pairs_along(const float *p)
{
    vf even, odd;
    for (int i = 0; i < LANES; i++) { even[i] = p[2 * i]; odd[i] = p[2 * i + 1]; }
    return pairs_across(even, odd);
}

/* In between subnormals are zeros, the one exception to rule 7. Neither a load nor a store is moved out of it. */
#if defined(__SSE__)
INLINE uint64_t flushing_begins(void)
{
    unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | 0x8040);
    __asm__ volatile("" : : : "memory");
    return saved;
}
INLINE void flushing_ends(uint64_t saved)
{
    __asm__ volatile("" : : : "memory");
    _mm_setcsr((unsigned)saved);
}
#elif defined(__aarch64__)
INLINE uint64_t flushing_begins(void)
{
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(saved | 1u << 24) : "memory");
    return saved;
}
INLINE void flushing_ends(uint64_t saved) { __asm__ volatile("msr fpcr, %0" : : "r"(saved) : "memory"); }
#else
INLINE uint64_t flushing_begins(void) { return 0; }
INLINE void flushing_ends(uint64_t saved) { (void)saved; }
#endif

#endif

#include "tile_body.h"

static TILE(product, FULL)
static TILE(then_lower_even, THEN_LOWER_EVEN)
static TILE(then_lower_odd, THEN_LOWER_ODD)
static TILE(upper_even_then, UPPER_EVEN_THEN)
static TILE(upper_odd_then, UPPER_ODD_THEN)

#define FLUSHING(name)                                                                                              \
    static void name##_flushing(long rows, long columns, long n_pairs, float *c, long c_row, const pair *a, long a_row, \
                                long a_step, const pair *b, const float *start, long start_row)                     \
    {                                                                                                               \
        const uint64_t saved = flushing_begins();                                                                   \
        name(rows, columns, n_pairs, c, c_row, a, a_row, a_step, b, start, start_row);                              \
        flushing_ends(saved);                                                                                       \
    }

FLUSHING(product)
FLUSHING(then_lower_even)
FLUSHING(then_lower_odd)
FLUSHING(upper_even_then)
FLUSHING(upper_odd_then)

static void along(pair *out, const float *a, long rows, long depth, long a_row)
{
    float rest[2 * LANES] = {0.0f};
    for (long i = 0; i < rows; i++, a += a_row) {
        long k = 0;
        for (; k + 2 * LANES <= depth; k += 2 * LANES, out += LANES) vp_store(out, pairs_along(a + k));
        if (k == depth) continue;
        memset(rest, 0, sizeof rest);
        memcpy(rest, a + k, (depth - k) * sizeof *a);
        vp_store(out, pairs_along(rest));
        out += (depth - k + 1) / 2;
    }
}

static void across(pair *out, long out_row, const float *a, long rows, long columns, long a_row)
{
    for (long i = 0; i < rows; i += 2, out += out_row, a += 2 * a_row)
        for (long j = 0; j < columns; j += LANES) {
            const vf odd = i + 1 < rows ? vf_load_n(a + a_row + j, columns - j) : vf_set1(0.0f);
            vp_store(out + j, pairs_across(vf_load_n(a + j, columns - j), odd));
        }
}

/* Columns come as rows of memory: blocks of LANES columns and as many pairs are turned in registers. */
static void pack_turned(pair *panel, const float *b, long depth, long columns, long column_step)
{
    float rest[2 * LANES];
    for (long k = 0; k < depth; k += 2 * LANES)
        for (long j = 0; j < columns; j += LANES) {
            vf block[LANES];
            for (long i = 0; i < LANES; i++) {
                const float *from = b + (j + i) * column_step + k;
                if (j + i >= columns || k + 2 * LANES > depth) {
                    memset(rest, 0, sizeof rest);
                    if (j + i < columns) memcpy(rest, from, (depth - k < 2 * LANES ? depth - k : 2 * LANES) * sizeof *from);
                    from = rest;
                }
                block[i] = (vf)pairs_along(from);
            }
            vf_transpose(block);
            for (long i = 0; i < LANES && k + 2 * i < depth; i++)
                vp_store(panel + (k / 2 + i) * TILE_COLUMNS + j, (vi)block[i]);
        }
}

static void pack(pair *panel, const float *b, long depth, long columns, long depth_step, long column_step)
{
    if (columns < TILE_COLUMNS) memset(panel, 0, sizeof *panel * ((depth + 1) / 2) * TILE_COLUMNS);
    if (column_step == 1) across(panel, TILE_COLUMNS, b, depth, columns, depth_step);
    else pack_turned(panel, b, depth, columns, column_step);
}

const Bf16 BF16 = {product_flushing, along, across, pack};
const Bf16Triangles TRIANGLES = {
    {then_lower_even_flushing, then_lower_odd_flushing}, {upper_even_then_flushing, upper_odd_then_flushing},
};
