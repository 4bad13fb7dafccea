/* exp, log, tanh, erf, sin, cos, pow and 1/sqrt of float32 vectors: every lane alone, the same bits at every width.
 *
 * Only + - * / sqrt, fma in one written order, comparison and selection; NaN in gives NaN out, and no finite input
 * of a function's domain does. The coefficients come from tools/coefficients.py.
 *
 * Largest error over all float32, in ulp (tests/exhaustive): exp 1.013, log 0.938, tanh 1.333, erf 1.159, sin and
 * cos 0.501, rsqrt 1.491; pow 0.501 on samples. exp, log, tanh, erf and rsqrt are monotone. */
#ifndef CLLM_MATHF_H
#define CLLM_MATHF_H

#include "mathd.h"
#include "simd.h"

/* Terms of a polynomial, lowest power first. */
INLINE vf vf_horner(vf x, const float *c, int n)
{
    vf sum = vf_set1(c[n - 1]);
    for (int i = n - 2; i >= 0; i--) sum = vf_fma(sum, x, vf_set1(c[i]));
    return sum;
}

/* x = 2^k m with m in [2/3, 4/3), f = m - 1 (exact): log x = k ln 2 + f + f^2 (f P(f) - 1/2). */
INLINE vf vf_log(vf x)
{
    static const float C[8] = {0.333332151f, -0.249998063f, 0.200104266f, -0.166801974f,
                               0.140057325f, -0.121874481f, 0.139846072f, -0.128802016f};
    const vf zero = vf_set1(0.0f), infinity = vf_set1(__builtin_inff());
    vi small = x < vf_set1(0x1p-126f);
    vf y = vf_select(small, x * vf_set1(0x1p24f), x);
    vi k = (vi)((vu)y - (vu)vi_set1(0x3f2aaaab)) >> 23; /* the bits of 2/3 */
    vf f = (vf)((vu)y - ((vu)k << 23)) - vf_set1(1.0f);
    vf n = __builtin_convertvector(k - (small & vi_set1(24)), vf);
    vf s = f * f * vf_fma(vf_horner(f, C, 8), f, vf_set1(-0.5f));
    vf sum = f + vf_fma(n, vf_set1(-0x1.05c610p-29f), s);
    sum = vf_fma(n, vf_set1(0x1.62e43p-1f), sum);
    sum = vf_select(x < infinity, sum, x); /* x is here +Inf or NaN */
    return vf_select(x > zero, sum, vf_select(x == zero, -infinity, (x - x) / zero));
}

INLINE vf vf_rsqrt(vf x) { return vf_set1(1.0f) / vf_sqrt(x); }

/* Rotary tables and normal draws need these, seldom: each lane in float64, rounded once. */
INLINE vf vf_sin(vf x) { for (int i = 0; i < LANES; i++) x[i] = (float)d_sin(x[i]); return x; }
INLINE vf vf_cos(vf x) { for (int i = 0; i < LANES; i++) x[i] = (float)d_cos(x[i]); return x; }
INLINE vf vf_pow(vf x, vf y) { for (int i = 0; i < LANES; i++) x[i] = (float)d_pow(x[i], y[i]); return x; }

/* ---- sixteen lanes: each operation in all registers before the next one, or each would wait for its own result ---- */

INLINE f16 f16_horner(f16 x, const float *c, int n)
{
    f16 sum = f16_set1(c[n - 1]);
    for (int i = n - 2; i >= 0; i--) sum = f16_fma(sum, x, f16_set1(c[i]));
    return sum;
}

/* e^x for x in [-104, 89]: x = n ln 2 + r with |r| <= ln 2 / 2, and e^r = 1 + r + r^2 P(r). */
INLINE f16 f16_exp_inside(f16 x)
{
    static const float C[5] = {0.499999940f, 0.166665211f, 0.0416682549f, 0.00836866256f, 0.00138214615f};
    const f16 round_by = f16_set1(0x1.8p23f); /* adding and subtracting it rounds to a whole number */
    f16 n = f16_fma(x, f16_set1(0x1.715476p0f), round_by);
#if defined(CLLM_FREED) /* benchmarks.builds alone: a compiler that may reorder would take it away again */
    EACH_REGISTER __asm__("" : "+x"(n.v[r_]));
#endif
    n = f16_sub(n, round_by);
    f16 r = f16_fma(n, f16_set1(-0x1.62e4p-1f), x); /* exact: ln 2's upper part has 15 bits */
    r = f16_fma(n, f16_set1(-0x1.7f7d1cp-20f), r);
    /* 1 + r (1 + r P) would save the product, and not be monotone */
    const f16 p = f16_fma(f16_mul(r, r), f16_horner(r, C, 5), r);
    return f16_scale(f16_add(f16_set1(1.0f), p), n);
}

INLINE f16 f16_exp(f16 x) { return f16_exp_inside(f16_at_least(f16_at_most(x, 89.0f), -104.0f)); }

/* |x| < 0.6: x + x^3 P(x^2); else 1 - 2 / (e^2|x| + 1), which inherits monotony from exp. */
INLINE f16 f16_tanh(f16 x)
{
    static const float C[5] = {-0.333332986f, 0.133319303f, -0.0537838563f, 0.0207947865f, -0.00589257618f};
    const f16 one = f16_set1(1.0f), a = f16_abs(x), z = f16_mul(a, a), b = f16_at_most(a, 10.0f);
    const f16 near = f16_fma(f16_mul(a, z), f16_horner(z, C, 5), a);
    const f16 far = f16_sub(one, f16_div(f16_set1(2.0f), f16_add(f16_exp_inside(f16_add(b, b)), one)));
    return f16_copysign(f16_select_below(a, 0.6f, near, far), x);
}

/* |x| < 1: x + x P(x^2); else 1 - e^-P(|x| - 2), where P stands for -log erfc. */
INLINE f16 f16_erf(f16 x)
{
    static const float NEAR[7] = {0.128379166f, -0.376126260f, 0.112835787f, -0.0268533472f,
                                  0.00518716220f, -0.000799785310f, 7.80690389e-5f};
    static const float FAR[9] = {5.36494112f, 4.41815996f, 0.923752964f, 0.0164801162f, -0.00355535117f,
                                 0.000715511851f, -0.000168865343f, 9.48232719e-6f, 7.15210717e-7f};
    const f16 a = f16_abs(x), b = f16_at_most(a, 3.95f);
    const f16 near = f16_fma(a, f16_horner(f16_mul(a, a), NEAR, 7), a);
    const f16 far = f16_horner(f16_sub(b, f16_set1(2.0f)), FAR, 9);
    const f16 e = f16_sub(f16_set1(1.0f), f16_exp_inside(f16_negative(far)));
    return f16_copysign(f16_select_below(a, 1.0f, near, e), x);
}

INLINE f16 f16_log(f16 x) { EACH_REGISTER x.v[r_] = vf_log(x.v[r_]); return x; }
INLINE f16 f16_sin(f16 x) { EACH_REGISTER x.v[r_] = vf_sin(x.v[r_]); return x; }
INLINE f16 f16_cos(f16 x) { EACH_REGISTER x.v[r_] = vf_cos(x.v[r_]); return x; }
INLINE f16 f16_pow(f16 x, f16 y) { EACH_REGISTER x.v[r_] = vf_pow(x.v[r_], y.v[r_]); return x; }
INLINE f16 f16_rsqrt(f16 x) { EACH_REGISTER x.v[r_] = vf_rsqrt(x.v[r_]); return x; }

#endif
