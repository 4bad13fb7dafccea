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

/* Each operation in all registers before the next one, or each register would wait for its own result. */

/* Terms of a polynomial, lowest power first. */
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

/* x = 2^k m with m in [2/3, 4/3), f = m - 1 (exact): log x = k ln 2 + f + f^2 (f P(f) - 1/2). */
INLINE f16 f16_log(f16 x)
{
    static const float C[8] = {0.333332151f, -0.249998063f, 0.200104266f, -0.166801974f,
                               0.140057325f, -0.121874481f, 0.139846072f, -0.128802016f};
    const vf zero = vf_set1(0.0f), infinity = vf_set1(__builtin_inff());
    f16 f, n;
    EACH_REGISTER {
        const vi small = x.v[r_] < vf_set1(0x1p-126f);
        const vf y = vf_select(small, x.v[r_] * vf_set1(0x1p24f), x.v[r_]);
        const vi k = (vi)((vu)y - (vu)vi_set1(0x3f2aaaab)) >> 23; /* the bits of 2/3 */
        f.v[r_] = (vf)((vu)y - ((vu)k << 23)) - vf_set1(1.0f);
        n.v[r_] = __builtin_convertvector(k - (small & vi_set1(24)), vf);
    }
    const f16 s = f16_mul(f16_mul(f, f), f16_fma(f16_horner(f, C, 8), f, f16_set1(-0.5f)));
    f16 sum = f16_add(f, f16_fma(n, f16_set1(-0x1.05c610p-29f), s));
    sum = f16_fma(n, f16_set1(0x1.62e43p-1f), sum);
    EACH_REGISTER {
        const vf y = x.v[r_], finite = vf_select(y < infinity, sum.v[r_], y); /* or y is here +Inf or NaN */
        sum.v[r_] = vf_select(y > zero, finite, vf_select(y == zero, -infinity, (y - y) / zero));
    }
    return sum;
}

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

INLINE f16 f16_rsqrt(f16 x) { return f16_div(f16_set1(1.0f), f16_sqrt(x)); }

/* Rotary tables and normal draws need these, seldom: each lane in float64, rounded once. */
#define EACH_LANE EACH_REGISTER for (int i = 0; i < LANES; i++)
INLINE f16 f16_sin(f16 x) { EACH_LANE x.v[r_][i] = (float)d_sin(x.v[r_][i]); return x; }
INLINE f16 f16_cos(f16 x) { EACH_LANE x.v[r_][i] = (float)d_cos(x.v[r_][i]); return x; }
INLINE f16 f16_pow(f16 x, f16 y) { EACH_LANE x.v[r_][i] = (float)d_pow(x.v[r_][i], y.v[r_][i]); return x; }
#undef EACH_LANE

#endif
