/* GELU and its slope, which share most of their work: exact, and in GPT-2's form (Hendrycks and Gimpel 2016, section 2). */
#ifndef CLLM_GELU_H
#define CLLM_GELU_H

#include "mathf.h"

/* 0.5 x (1 + e) with e = erf(x / sqrt 2); the slope is 0.5 (1 + e) + x times the normal density at x. */
INLINE f16 f16_gelu(f16 x, f16 *slope)
{
    const f16 half_x = f16_mul(f16_set1(0.5f), x), half = f16_set1(0.5f);
    const f16 e = f16_erf(f16_mul(x, f16_set1(0.7071067811865476f)));
    const f16 density = f16_exp(f16_mul(f16_mul(f16_set1(-0.5f), x), x)); /* times 1 / sqrt(2 pi) */
    const f16 weighted = f16_mul(f16_mul(x, f16_set1(0.3989422804014327f)), density);
    *slope = f16_add(f16_fma(half, e, half), weighted);
    return f16_fma(half_x, e, half_x);
}

/* 0.5 x (1 + t) with t = tanh(u), u = K (x + 0.044715 x^3), K = sqrt(2 / pi); the slope is
 * 0.5 (1 + t) + 0.5 x (1 - t^2) du/dx. */
INLINE f16 f16_gelu_tanh(f16 x, f16 *slope)
{
    const double K = 0.7978845608028654, K3 = 0.044715 * K, K9 = 3.0 * K3;
    const f16 half_x = f16_mul(f16_set1(0.5f), x), half = f16_set1(0.5f), one = f16_set1(1.0f);
    const f16 k = f16_set1((float)K), square = f16_mul(x, x);
    const f16 t = f16_tanh(f16_mul(x, f16_fma(f16_set1((float)K3), square, k)));
    /* 1 - t^2 is exactly 0 long before |x| = 16; without the bound 0 * inf would make a NaN of a finite x. */
    const f16 du = f16_fma(f16_set1((float)K9), f16_at_most(square, 256.0f), k);
    const f16 bell = f16_fma(f16_mul(f16_set1(-1.0f), t), t, one);
    *slope = f16_fma(f16_mul(half_x, bell), du, f16_fma(half, t, half));
    return f16_fma(half_x, t, half_x);
}

/* y (n,) and, unless NULL, slope (n,) OUT; x (n,) IN; n <= 16. Called with the constant 16 it has no tail. */
INLINE void gelu_lanes(float *y, float *slope, const float *x, long n, int exact)
{
    f16 s, v = f16_load_n(x, n);
    f16_store_n(y, exact ? f16_gelu(v, &s) : f16_gelu_tanh(v, &s), n);
    if (slope) f16_store_n(slope, s, n);
}

#endif
