/* exp, log, sin, cos, pow, tanh and erf of float64 scalars: schedules, bias correction, random draws, sampling.
 *
 * Only + - * /, fma in one written order, comparison and integer arithmetic; NaN in gives NaN out. The coefficients
 * come from tools/coefficients.py. A `dd` is the unrounded sum of two float64 (about 106 bits).
 *
 * Largest error seen in 100,000 points, in ulp (tests/exhaustive): exp 0.82, log 0.501, sin and cos 0.77, tanh 1.27,
 * erf 1.15, pow 0.84. */
#ifndef CLLM_MATHD_H
#define CLLM_MATHD_H

#include <stdint.h>
#include <string.h>

/* No build does without this header. CFLAGS from outside are put before our own flags and could break numerics rule 6:
 * a compiler that may assume finite numbers deletes the tests for NaN, one that may reorder changes every sum. */
#if (defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(__ASSOCIATIVE_MATH__) \
    || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)) && !defined(CLLM_FREED) /* benchmarks.builds alone */
#error "cllm: built with -ffast-math, -Ofast or a part of it; take such flags out of CFLAGS (numerics rule 6)"
#endif

typedef struct { double hi, lo; } dd;

static inline int64_t d_bits(double x) { int64_t i; memcpy(&i, &x, sizeof i); return i; }
static inline double d_from_bits(int64_t i) { double x; memcpy(&x, &i, sizeof x); return x; }
static inline double d_fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
static inline double d_pow2(int k) { return d_from_bits((int64_t)(k + 1023) << 52); } /* k in [-1022, 1023] */
static inline double d_inf(void) { return __builtin_inf(); }
static inline double d_abs(double x) { return d_from_bits(d_bits(x) & INT64_MAX); }
static inline double d_copysign(double size, double sign)
{
    return d_from_bits((d_bits(size) & INT64_MAX) | (d_bits(sign) & INT64_MIN));
}

/* Terms of a polynomial, lowest power first. */
static inline double d_horner(double x, const double *c, int n)
{
    double sum = c[n - 1];
    for (int i = n - 2; i >= 0; i--) sum = d_fma(sum, x, c[i]);
    return sum;
}

/* Exact a + b. */
static inline dd dd_sum(double a, double b)
{
    double s = a + b, from_b = s - a;
    return (dd){s, (a - (s - from_b)) + (b - from_b)};
}
static inline dd dd_product(dd a, dd b)
{
    double p = a.hi * b.hi;
    return dd_sum(p, d_fma(a.hi, b.hi, -p) + (a.hi * b.lo + a.lo * b.hi));
}
static inline dd dd_add(dd a, dd b)
{
    dd s = dd_sum(a.hi, b.hi);
    return dd_sum(s.hi, s.lo + (a.lo + b.lo));
}

/* ---- exp, log, pow ---- */

/* e^(hi + lo): hi = n ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 P(r). */
static inline double d_exp_sum(double hi, double lo)
{
    static const double C[10] = {0.50000000000000111, 0.16666666666666463, 0.041666666666528615,
                                 0.0083333333334710148, 0.0013888888943761816, 0.00019841269545508734,
                                 2.4801493103555592e-5, 2.7557558645310006e-6, 2.7630219226698766e-7,
                                 2.5007260115930167e-8};
    if (hi != hi) return hi;
    if (hi > 710.0) hi = 710.0, lo = 0.0;
    if (hi < -746.0) hi = -746.0, lo = 0.0;
    double n = d_fma(hi, 0x1.71547652b82fep0, 0x1.8p52) - 0x1.8p52;
    double a = d_fma(n, -0x1.62e42fefa38p-1, hi); /* exact: ln 2's upper part has 42 bits */
    double b = d_fma(n, -0x1.ef35793c7673p-45, lo);
    dd r = dd_sum(a, b);
    double p = d_fma(r.hi * r.hi, d_horner(r.hi, C, 10), r.lo);
    int k = (int)n, half = k >> 1;
    return (1.0 + (r.hi + p)) * d_pow2(half) * d_pow2(k - half); /* two steps: 2^k may be no float64 */
}

static inline double d_exp(double x) { return d_exp_sum(x, 0.0); }

/* log of a positive finite x = 2^k m, m in [2/3, 4/3): with s = (m-1)/(m+1), s^2 <= 1/25,
 * log m = 2s + s^3 (2/3 + s^2 (2/5 + s^2 P(s^2))). */
static inline dd dd_log(double x)
{
    static const double C[7] = {0.28571428571469698, 0.22222222207663786, 0.1818182023310328, 0.15384464247105795,
                                0.13339678142672998, 0.11612266057277439, 0.12459572568054192};
    int k = 0;
    if (x < 0x1p-1022) x *= 0x1p54, k = -54;
    int64_t up = (d_bits(x) - 0x3fe5555555555555) >> 52; /* the bits of 2/3 */
    double m = d_from_bits(d_bits(x) - (int64_t)((uint64_t)up << 52)), n = (double)(k + up);
    dd below = dd_sum(1.0, m), s, z, t;
    s.hi = (m - 1.0) / below.hi;
    s.lo = d_fma(-s.hi, below.lo, d_fma(-s.hi, below.hi, m - 1.0)) / below.hi;
    z = dd_product(s, s);
    t = dd_add((dd){0x1.999999999999ap-2, -0x1.999999999999ap-56}, (dd){z.hi * d_horner(z.hi, C, 7), 0.0});
    t = dd_add((dd){0x1.5555555555555p-1, 0x1.5555555555555p-55}, dd_product(z, t));
    t = dd_product(dd_product(z, s), t);
    t = dd_add((dd){2.0 * s.hi, 2.0 * s.lo}, t);
    return dd_add((dd){n * 0x1.62e42fefa38p-1, n * 0x1.ef35793c7673p-45}, t); /* the first product is exact */
}

static inline double d_log(double x)
{
    if (x > 0.0 && x < d_inf()) return dd_log(x).hi;
    if (x == 0.0) return -d_inf();
    return x < 0.0 ? (x - x) / 0.0 : x;
}

/* As C's pow, but a NaN in either argument gives NaN. */
static inline double d_pow(double x, double y)
{
    if (x != x || y != y) return x + y;
    double a = d_abs(x), size = d_abs(y), result;
    int whole = size >= 0x1p53 || size == (double)(int64_t)size;
    int odd = size < 0x1p53 && whole && ((int64_t)size & 1);
    if (y == 0.0 || x == 1.0) return 1.0;
    if (size == d_inf()) return a == 1.0 ? 1.0 : (a > 1.0) == (y > 0.0) ? size : 0.0;
    if (x < 0.0 && !whole && a != d_inf()) return (x - x) / 0.0;
    if (a == 0.0 || a == d_inf()) result = (a == 0.0) == (y < 0.0) ? d_inf() : 0.0;
    else {
        dd l = dd_log(a);
        double p = y * l.hi;
        int wild = p > 710.0 || p < -746.0;
        result = d_exp_sum(p, wild ? 0.0 : d_fma(y, l.hi, -p) + y * l.lo);
    }
    return odd && d_bits(x) < 0 ? -result : result;
}

/* ---- sin, cos ---- */

/* 2/pi in 64-bit words after a word of zeros: 1216 bits, enough for the largest float64. */
static inline uint64_t d_two_over_pi(int word)
{
    static const uint64_t WORDS[20] = {
        0, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561, 0xb7246e3a424dd2e0,
        0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4,
        0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
        0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab};
    return WORDS[word];
}

/* The 64 bits of (0 words, 2/pi) that begin at bit `at`. */
static inline uint64_t d_two_over_pi_bits(int at)
{
    int word = at >> 6, shift = at & 63;
    uint64_t first = d_two_over_pi(word) << shift;
    return shift ? first | d_two_over_pi(word + 1) >> (64 - shift) : first;
}

/* |x| >= 2^28, x = M 2^e with whole M: M times those bits of 2/pi that decide (x 2/pi) mod 4, in integers. */
static inline dd d_turns_huge(double x, int *quarter)
{
    const uint64_t mantissa = ((uint64_t)d_bits(x) & 0xfffffffffffff) | 0x10000000000000;
    const int at = (int)(d_bits(x) >> 52 & 0x7ff) - 1075 + 62; /* e + 62: the bit of weight 2 */
    unsigned __int128 low = (unsigned __int128)mantissa * d_two_over_pi_bits(at + 128);
    unsigned __int128 p = (unsigned __int128)mantissa * d_two_over_pi_bits(at + 64) + (uint64_t)(low >> 64);
    p += (unsigned __int128)(mantissa * d_two_over_pi_bits(at)) << 64;
    *quarter = (int)((uint64_t)(p >> 126) + ((uint64_t)(p >> 125) & 1)) & 3;
    p <<= 2; /* now a signed fraction of a quarter turn, in [-1/2, 1/2), of weight 2^-128 */
    int64_t top = (int64_t)(uint64_t)(p >> 64);
    uint64_t rest = (uint64_t)p;
    dd f = dd_sum((double)(top >> 32) * 0x1p-32, (double)(top & 0xffffffff) * 0x1p-64);
    f = dd_sum(f.hi, f.lo + (double)(rest >> 11) * 0x1p-117);
    return f;
}

/* x less the nearest multiple of pi/2, and that multiple mod 4. */
static inline dd d_reduce(double x, int *quarter)
{
    const dd half_pi = {0x1.921fb54442d18p0, 0x1.1a62633145c07p-54};
    if (d_fma(x, x, 0.0) < 0x1p56) {
        double n = d_fma(x, 0x1.45f306dc9c883p-1, 0x1.8p52) - 0x1.8p52;
        double t = n * half_pi.lo;
        dd r = dd_sum(d_fma(-n, half_pi.hi, x), -t); /* the fma is exact: multiples of 2^-52 below 1 */
        *quarter = (int)((int64_t)n & 3);
        return dd_sum(r.hi, r.lo - (d_fma(n, half_pi.lo, -t) + n * -0x1.f1976b7ed8fbcp-110));
    }
    dd r = dd_product(d_turns_huge(x, quarter), half_pi);
    if (x > 0.0) return r;
    *quarter = -*quarter & 3;
    return (dd){-r.hi, -r.lo};
}

/* sin of |r| <= pi/4: r + r^3 P(r^2), and what r.lo adds. */
static inline double d_sin_near(dd r)
{
    static const double C[6] = {-0.16666666666666630, 0.0083333333333218407, -0.00019841269829358522,
                                2.7557313538509660e-6, -2.5050734388053667e-8, 1.5895433190273785e-10};
    double z = r.hi * r.hi;
    return r.hi + d_fma(z * r.hi, d_horner(z, C, 6), d_fma(-0.5 * z, r.lo, r.lo));
}

/* cos of |r| <= pi/4: 1 - r^2/2 + r^4 P(r^2), and what r.lo takes away. */
static inline double d_cos_near(dd r)
{
    static const double C[6] = {0.041666666666666595, -0.0013888888888873338, 2.4801587288997482e-5,
                                -2.7557314215299013e-7, 2.0875705114949243e-9, -1.1358732771453485e-11};
    double z = r.hi * r.hi, half = 0.5 * z, w = 1.0 - half;
    return w + (((1.0 - w) - half) + d_fma(z * z, d_horner(z, C, 6), -(r.hi * r.lo)));
}

/* sin of x plus so many quarter turns. */
static inline double d_sin_turned(double x, int quarters)
{
    int quarter;
    if (!(x - x == 0.0)) return x - x; /* NaN and Inf */
    dd r = d_reduce(x, &quarter);
    quarter += quarters;
    double y = quarter & 1 ? d_cos_near(r) : d_sin_near(r);
    return quarter & 2 ? -y : y;
}

static inline double d_sin(double x) { return x == 0.0 ? x : d_sin_turned(x, 0); }
static inline double d_cos(double x) { return d_sin_turned(x, 1); }

/* ---- tanh, erf: as in mathf.h ---- */

static inline double d_tanh(double x)
{
    static const double C[11] = {-0.33333333333333121, 0.13333333333298877, -0.053968253948868242,
                                 0.021869487991501638, -0.0088632266164051111, 0.0035920359476283212,
                                 -0.001455207299545644, 0.00058715950884275316, -0.00023033296778686486,
                                 7.9234686943834966e-5, -1.7136423189174801e-5};
    double a = d_abs(x), z = a * a, y = x; /* x if it is NaN */
    if (a < 0.6) y = d_fma(a * z, d_horner(z, C, 11), a);
    else if (a < 22.0) y = 1.0 - 2.0 / (d_exp(a + a) + 1.0);
    else if (a >= 22.0) y = 1.0;
    return d_copysign(y, x);
}

static inline double d_erf(double x)
{
    static const double NEAR[13] = {0.12837916709551259, -0.37612638903184092, 0.11283791670970816,
                                    -0.026866170647981420, 0.0052239776522574567, -0.00085483285139079036,
                                    0.00012055385511566576, -1.4926867862057349e-5, 1.6480884287172494e-6,
                                    -1.6555726783885034e-7, 1.6006698778286769e-8, -1.6450298447759921e-9,
                                    1.4336637907421434e-10};
    static const double FAR[22] = {5.3649412646166379, 4.4181608059944155, 0.92375084182373646,
                                   0.016465118136764392, -0.0035707563448519513, 0.00073239938874247615,
                                   -0.00013530934214011359, 2.0706410835301151e-5, -1.9521774477030460e-6,
                                   -2.0357465648577736e-7, 1.7319038971951906e-7, -5.7909143024916184e-8,
                                   1.3955309891694246e-8, -2.4314373607956843e-9, 2.6995690438999859e-10,
                                   -1.9000026623928204e-11, -2.8992249583898162e-11, 3.0006324345436484e-11,
                                   -6.6974572748272009e-12, -2.4417732489274798e-12, 1.2790924984308563e-12,
                                   -1.5310116470681535e-13};
    double a = d_abs(x), y = x; /* x if it is NaN */
    if (a < 1.0) y = d_fma(a, d_horner(a * a, NEAR, 13), a);
    else if (a < 5.95) y = 1.0 - d_exp(-d_horner(a - 2.0, FAR, 22));
    else if (a >= 5.95) y = 1.0;
    return d_copysign(y, x);
}

#endif
