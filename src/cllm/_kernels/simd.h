/* The vector type of the target's native width: 16, 8 or 4 float32 lanes. Every intrinsic of cllm is in this file.
 *
 * Results never depend on the width: element-wise functions act on each lane alone, and sums go through `f16`,
 * which is 16 lanes on every target, held in one, two or four registers. Vectors wider than the target's
 * registers are avoided on purpose: gcc 12 turns a 64-byte vector below AVX-512 into scalar code. */
#ifndef CLLM_SIMD_H
#define CLLM_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define LANES 16
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
#else
#define LANES 4
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES))); /* integers that may wrap around */

/* ---- one register ---- */

INLINE vf vf_load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf vf_set1(float x) { return x - (vf){0}; } /* x - 0 is x for every x, also -0 and NaN */
INLINE vi vi_set1(int32_t x) { return x - (vi){0}; }

/* The first n lanes, the others +0; n may be 0 or more than LANES. What lies behind them is neither read nor written. */
INLINE vf vf_load_n(const float *p, long n)
{
    if (n >= LANES) return vf_load(p);
#if LANES == 16
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << (n > 0 ? n : 0)) - 1u), p);
#elif LANES == 8
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return (vf)_mm256_maskload_ps(p, (__m256i)(lane < vi_set1((int32_t)n)));
#else
    vf v = {0};
    if (n > 0) v[0] = p[0];
    if (n > 1) v[1] = p[1];
    if (n > 2) v[2] = p[2];
    return v;
#endif
}

INLINE void vf_store_n(float *p, vf v, long n)
{
    if (n >= LANES) { vf_store(p, v); return; }
#if LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n > 0 ? n : 0)) - 1u), (__m512)v);
#elif LANES == 8 /* a masked store takes AMD's processors dozens of steps */
    if (n <= 0) return;
    __m128 half = _mm256_castps256_ps128((__m256)v);
    if (n & 4) {
        _mm_storeu_ps(p, half);
        half = _mm256_extractf128_ps((__m256)v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, half);
        half = _mm_movehl_ps(half, half);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, half);
#else
    if (n > 0) p[0] = v[0];
    if (n > 1) p[1] = v[1];
    if (n > 2) p[2] = v[2];
#endif
}

/* Whether vf_fma is one instruction; if not it is some twenty. */
#if LANES > 4 || (defined(__ARM_NEON) && defined(__aarch64__))
#define FMA_IS_INSTRUCTION 1
#else
#define FMA_IS_INSTRUCTION 0
#endif

INLINE vf vf_fma_of_c(vf a, vf b, vf c)
{
    for (int i = 0; i < LANES; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
}

#if !FMA_IS_INSTRUCTION && defined(__SSE2__)
static __attribute__((noinline, cold)) vf vf_fma_seldom(vf a, vf b, vf c) { return vf_fma_of_c(a, b, c); }

/* float64 holds a * b, and rounds its sum with c. Rounded again, to float32, that is what one rounding gives, unless it
 * lies midway between two of those, where the digits that were lost may decide, or below the normal ones, where midway is
 * elsewhere. These few, and no zeros, are left to C's fmaf. */
INLINE vf vf_fma_by_float64(vf a, vf b, vf c)
{
    const __m128 x = (__m128)a, y = (__m128)b, z = (__m128)c;
    const __m128d low = _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(x), _mm_cvtps_pd(y)), _mm_cvtps_pd(z));
    const __m128d high = _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(_mm_movehl_ps(x, x)), _mm_cvtps_pd(_mm_movehl_ps(y, y))),
                                    _mm_cvtps_pd(_mm_movehl_ps(z, z)));
    const vi lower = (vi)_mm_shuffle_ps((__m128)low, (__m128)high, 0x88);
    const vi upper = (vi)_mm_shuffle_ps((__m128)low, (__m128)high, 0xdd) & vi_set1(0x7fffffff);
    const vi midway = (lower & vi_set1(0x1fffffff)) == vi_set1(0x10000000);
    const vi small = (upper > 0) & (upper < vi_set1(0x38100000)); /* 2^-126 */
    if (__builtin_expect(_mm_movemask_ps((__m128)(midway | small)), 0)) return vf_fma_seldom(a, b, c);
    return (vf)_mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}
#endif

/* a * b + c with one rounding. */
INLINE vf vf_fma(vf a, vf b, vf c)
{
#if LANES == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif LANES == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(__SSE2__)
    return vf_fma_by_float64(a, b, c);
#else
    return vf_fma_of_c(a, b, c);
#endif
}

/* Masks are vectors of 0 and -1, as comparisons of vectors give them. */
INLINE vf vf_select(vi mask, vf yes, vf no)
{
#if LANES == 16
    return (vf)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)no, (__m512)yes);
#elif LANES == 8
    return (vf)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
#else
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
#endif
}

INLINE vf vf_sqrt(vf a)
{
#if LANES == 16
    return (vf)_mm512_sqrt_ps((__m512)a);
#elif LANES == 8
    return (vf)_mm256_sqrt_ps((__m256)a);
#else
    vf r;
    for (int i = 0; i < LANES; i++) r[i] = __builtin_sqrtf(a[i]);
    return r;
#endif
}

INLINE vf vf_abs(vf a) { return (vf)((vi)a & vi_set1(0x7fffffff)); }
INLINE vf vf_copysign(vf magnitude, vf sign)
{
    return (vf)(((vi)magnitude & vi_set1(0x7fffffff)) | ((vi)sign & vi_set1((int32_t)0x80000000)));
}

/* Bounds that a NaN in x passes through, which decides the order of min's and max's operands. */
INLINE vf vf_at_most(vf x, float high)
{
#if LANES == 16
    return (vf)_mm512_min_ps((__m512)vf_set1(high), (__m512)x);
#elif LANES == 8
    return (vf)_mm256_min_ps((__m256)vf_set1(high), (__m256)x);
#else
    return vf_select(x > vf_set1(high), vf_set1(high), x);
#endif
}

INLINE vf vf_at_least(vf x, float low)
{
#if LANES == 16
    return (vf)_mm512_max_ps((__m512)vf_set1(low), (__m512)x);
#elif LANES == 8
    return (vf)_mm256_max_ps((__m256)vf_set1(low), (__m256)x);
#else
    return vf_select(x < vf_set1(low), vf_set1(low), x);
#endif
}

/* x * 2^n with one rounding, for x in [1/2, 2) and whole n in [-250, 250]; subnormal results are kept. */
INLINE vf vf_scale(vf x, vf n)
{
#if LANES == 16
    return (vf)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
    vi k = __builtin_convertvector(n, vi), half = k >> 1; /* 2^n may be no float: two steps, the first exact */
    return x * (vf)((half + 127) << 23) * (vf)((k - half + 127) << 23);
#endif
}

/* The larger of two; a NaN in either comes through. The instruction gives b where either is one. */
INLINE vf vf_max(vf a, vf b)
{
#if LANES == 16
    __m512 x = (__m512)a;
    return (vf)_mm512_mask_mov_ps(_mm512_max_ps(x, (__m512)b), _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
#elif LANES == 8
    __m256 x = (__m256)a;
    return (vf)_mm256_blendv_ps(_mm256_max_ps(x, (__m256)b), x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
#else
    vf larger = vf_select(a > b, a, b);      /* b where a is NaN, b where b is NaN */
    return vf_select(a == a, larger, a);
#endif
}

/* Row i becomes column i of a square of LANES registers: at each distance, the lanes that stand on the wrong side of
 * it change places with those of the register at that distance. */
#if LANES == 16
INLINE void vf_swap(vf *a, vf *b, int distance)
{
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, far = (lane & distance) != 0;
    const vi from_a = (far & (16 + (lane ^ distance))) | (~far & lane);
    const vi from_b = (far & (16 + lane)) | (~far & (lane ^ distance));
    __m512 was = (__m512)*a;
    *a = (vf)_mm512_permutex2var_ps(was, (__m512i)from_a, (__m512)*b);
    *b = (vf)_mm512_permutex2var_ps(was, (__m512i)from_b, (__m512)*b);
}
#elif LANES == 8
INLINE void vf_swap(vf *a, vf *b, int distance)
{
    __m256 x = (__m256)*a, y = (__m256)*b;
    if (distance == 4) {
        *a = (vf)_mm256_permute2f128_ps(x, y, 0x20);
        *b = (vf)_mm256_permute2f128_ps(x, y, 0x31);
    } else if (distance == 2) {
        *a = (vf)_mm256_unpacklo_pd((__m256d)x, (__m256d)y);
        *b = (vf)_mm256_unpackhi_pd((__m256d)x, (__m256d)y);
    } else {
        *a = (vf)_mm256_blend_ps(x, _mm256_moveldup_ps(y), 0xaa);
        *b = (vf)_mm256_blend_ps(_mm256_movehdup_ps(x), y, 0xaa);
    }
}
#else
INLINE void vf_swap(vf *a, vf *b, int distance)
{
    for (int i = 0; i < LANES; i++)
        if (i & distance) { float was = (*a)[i]; (*a)[i] = (*b)[i - distance]; (*b)[i - distance] = was; }
}
#endif

INLINE void vf_transpose(vf row[LANES])
{
#pragma GCC unroll 4
    for (int distance = 1; distance < LANES; distance *= 2)
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++)
            if (!(i & distance)) vf_swap(&row[i], &row[i + distance], distance);
}

/* ---- sixteen lanes on every target: the unit of every float32 sum (numerics rule 3) ---- */

#define REGISTERS (16 / LANES)
typedef struct { vf v[REGISTERS]; } f16;

#define EACH_REGISTER for (int r_ = 0; r_ < REGISTERS; r_++)

INLINE f16 f16_set1(float x) { f16 r; EACH_REGISTER r.v[r_] = vf_set1(x); return r; }
INLINE f16 f16_load(const float *p) { f16 r; EACH_REGISTER r.v[r_] = vf_load(p + r_ * LANES); return r; }
INLINE f16 f16_load_n(const float *p, long n)
{
    f16 r;
    EACH_REGISTER r.v[r_] = n > r_ * LANES ? vf_load_n(p + r_ * LANES, n - r_ * LANES) : vf_set1(0.0f);
    return r;
}
INLINE void f16_store(float *p, f16 a) { EACH_REGISTER vf_store(p + r_ * LANES, a.v[r_]); }
INLINE void f16_store_n(float *p, f16 a, long n)
{
    EACH_REGISTER if (n > r_ * LANES) vf_store_n(p + r_ * LANES, a.v[r_], n - r_ * LANES);
}
INLINE f16 f16_add(f16 a, f16 b) { EACH_REGISTER a.v[r_] += b.v[r_]; return a; }
INLINE f16 f16_sub(f16 a, f16 b) { EACH_REGISTER a.v[r_] -= b.v[r_]; return a; }
INLINE f16 f16_mul(f16 a, f16 b) { EACH_REGISTER a.v[r_] *= b.v[r_]; return a; }
INLINE f16 f16_div(f16 a, f16 b) { EACH_REGISTER a.v[r_] /= b.v[r_]; return a; }
INLINE f16 f16_sqrt(f16 a) { EACH_REGISTER a.v[r_] = vf_sqrt(a.v[r_]); return a; }
INLINE f16 f16_fma(f16 a, f16 b, f16 c) { EACH_REGISTER c.v[r_] = vf_fma(a.v[r_], b.v[r_], c.v[r_]); return c; }
INLINE f16 f16_max(f16 a, f16 b) { EACH_REGISTER a.v[r_] = vf_max(a.v[r_], b.v[r_]); return a; }

INLINE f16 f16_abs(f16 a) { EACH_REGISTER a.v[r_] = vf_abs(a.v[r_]); return a; }
INLINE f16 f16_negative(f16 a) { EACH_REGISTER a.v[r_] = -a.v[r_]; return a; }
INLINE f16 f16_copysign(f16 a, f16 sign) { EACH_REGISTER a.v[r_] = vf_copysign(a.v[r_], sign.v[r_]); return a; }
INLINE f16 f16_scale(f16 a, f16 n) { EACH_REGISTER a.v[r_] = vf_scale(a.v[r_], n.v[r_]); return a; }

/* Bounds that a NaN passes through. */
INLINE f16 f16_at_most(f16 a, float high) { EACH_REGISTER a.v[r_] = vf_at_most(a.v[r_], high); return a; }
INLINE f16 f16_at_least(f16 a, float low) { EACH_REGISTER a.v[r_] = vf_at_least(a.v[r_], low); return a; }

/* a < bound ? yes : no; a NaN is not below. */
INLINE f16 f16_select_below(f16 a, float bound, f16 yes, f16 no)
{
    EACH_REGISTER no.v[r_] = vf_select(a.v[r_] < vf_set1(bound), yes.v[r_], no.v[r_]);
    return no;
}

/* The first n lanes of a, the others `rest`; n may be more than 16. */
INLINE f16 f16_first(f16 a, long n, float rest)
{
    const vi lane =
#if LANES == 16
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif LANES == 8
        {0, 1, 2, 3, 4, 5, 6, 7};
#else
        {0, 1, 2, 3};
#endif
    EACH_REGISTER a.v[r_] = vf_select(lane < vi_set1((int32_t)(n > 16 ? 16 : n) - r_ * LANES), a.v[r_], vf_set1(rest));
    return a;
}

/* 1, -1 or a itself, where it is 0 or NaN; an infinity becomes NaN, or nobody would see it. */
INLINE f16 f16_sign(f16 a)
{
    EACH_REGISTER {
        const vf x = a.v[r_], zero = vf_set1(0.0f), one = vf_select(x > zero, vf_set1(1.0f), vf_set1(-1.0f));
        a.v[r_] = vf_select(vf_abs(x) > zero, one, x) + (x - x);
    }
    return a;
}
/* 0 where |a| < bound, else a; a NaN stays one. */
INLINE f16 f16_flush_below(f16 a, float bound)
{
    EACH_REGISTER a.v[r_] = vf_select(vf_abs(a.v[r_]) < vf_set1(bound), vf_set1(0.0f), a.v[r_]);
    return a;
}

/* The lanes i + distance of a register, for i < distance; what stands in the others does not matter. */
#if LANES == 16
#define LANES_FROM(distance) {distance, distance + 1, distance + 2, distance + 3, distance + 4, distance + 5, \
    distance + 6, distance + 7, 8, 9, 10, 11, 12, 13, 14, 15}
#elif LANES == 8
#define LANES_FROM(distance) {distance, distance + 1, distance + 2, distance + 3, 4, 5, 6, 7}
#else
#define LANES_FROM(distance) {distance, distance + 1, 2, 3}
#endif

INLINE vf vf_permute(vf a, vi from)
{
#if LANES == 16
    return (vf)_mm512_permutexvar_ps((__m512i)from, (__m512)a);
#elif LANES == 8
    return (vf)_mm256_permutevar8x32_ps((__m256)a, (__m256i)from);
#else
    vf r;
    for (int i = 0; i < LANES; i++) r[i] = a[from[i]];
    return r;
#endif
}

/* Lane i and lane i+8, then i+4, i+2, i+1: the one tree by which sixteen lanes become one number. */
#define F16_TREE(name, combine)                                                                     \
    INLINE float name(f16 a)                                                                        \
    {                                                                                               \
        for (int n = REGISTERS / 2; n > 0; n /= 2)                                                  \
            for (int r = 0; r < n; r++) a.v[r] = combine(a.v[r], a.v[r + n]);                       \
        vf t = a.v[0];                                                                              \
        if (LANES > 8) t = combine(t, vf_permute(t, (vi)LANES_FROM(8)));                            \
        if (LANES > 4) t = combine(t, vf_permute(t, (vi)LANES_FROM(4)));                            \
        t = combine(t, vf_permute(t, (vi)LANES_FROM(2)));                                           \
        return combine(t, vf_permute(t, (vi)LANES_FROM(1)))[0];                                     \
    }

INLINE vf vf_add(vf a, vf b) { return a + b; }
F16_TREE(f16_sum, vf_add)
F16_TREE(f16_largest, vf_max)

#endif
