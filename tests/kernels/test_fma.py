"""a * b + c rounds once, also where a processor has no instruction for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cllm import kernels
from tests.float32 import Float32, chain
from tests.kernels.compiling import needs_a_compiler, printed

# Of random bits, of sums that lie midway between two floats or beside it by less than a float64 holds, and of what is
# special: how many differ from C's fmaf.
PROGRAM = """
#include <stdio.h>
#include "simd.h"

static uint64_t state = 1;
static uint32_t draw(void) { state = state * 6364136223846793005u + 1442695040888963407u; return state >> 32; }
static float of(uint32_t bits) { float x; memcpy(&x, &bits, sizeof x); return x; }
static float power(int exponent) { return of((uint32_t)(exponent + 127) << 23); }

static long n_same, n_different;

static void compare(vf a, vf b, vf c)
{
    const vf r = vf_fma(a, b, c);
    for (int i = 0; i < LANES; i++) {
        const float expected = __builtin_fmaf(a[i], b[i], c[i]), found = r[i];
        if (expected != expected ? found != found : !memcmp(&expected, &found, sizeof found)) n_same++;
        else if (!n_different++) printf("%a * %a + %a is %a, not %a; ", a[i], b[i], c[i], expected, found);
    }
}

static const uint32_t special[] = {
    0, 1, 2, 0x3fffff, 0x7fffff, 0x800000, 0x800001, 0x1000000, 0x33800000, 0x34000000, 0x3f7fffff, 0x3f800000,
    0x3f800001, 0x3fc00000, 0x40000000, 0x4b7fffff, 0x5f7fffff, 0x7f000000, 0x7f7fffff, 0x7f800000, 0x7fc00000,
};
enum { N_SPECIAL = 2 * sizeof special / sizeof *special };
/* Each with both signs. */
static float special_of(int i) { return of(special[i % N_SPECIAL / 2] | (uint32_t)i << 31); }

static void all(void)
{
    for (int i = 0; i < N_SPECIAL; i++)
        for (int j = 0; j < N_SPECIAL; j++)
            for (int k = 0; k < N_SPECIAL; k += LANES) {
                vf c;
                for (int l = 0; l < LANES; l++) c[l] = special_of(k + l);
                compare(vf_set1(special_of(i)), vf_set1(special_of(j)), c);
            }
    for (int i = 0; i < 300000; i++) {
        vf a, b, c;
        for (int l = 0; l < LANES; l++) { a[l] = of(draw()); b[l] = of(draw()); c[l] = of(draw()); }
        compare(a, b, c);
        /* Half the last place of c, and a little more or less, or nothing. */
        for (int l = 0; l < LANES; l++) {
            const int exponent = (int)(draw() % 276) - 149, half = (exponent < -126 ? -126 : exponent) - 24;
            c[l] = exponent < -126 ? of(draw() >> 9) : of((uint32_t)(exponent + 127) << 23 | draw() >> 9);
            const int of_a = half / 2, of_b = half - of_a;
            a[l] = (1.0f + (float)(draw() % 3) * power(-23)) * power(of_a);
            b[l] = (1.0f - (float)(draw() % 3) * power(-24)) * power(of_b) * (draw() & 1 ? 1.0f : -1.0f);
        }
        compare(a, b, c);
    }
}

int main(void)
{
    all();
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040); /* as bfloat16's products have it: subnormals are zeros */
    all();
#endif
    printf("%ld differ of %s", n_different, n_same > 2000000 ? "millions" : "few");
}
"""


@needs_a_compiler
def test_without_the_instruction_it_is_that_of_c(tmp_path: Path) -> None:
    assert printed(PROGRAM, tmp_path) == "0 differ of millions"


@pytest.mark.parametrize("exponent", [0, -126, -140, 104])
def test_sums_beside_the_middle_between_two_floats(exponent: int) -> None:
    last = max(exponent, -126) - 23  # place of c; half of it is what is added, and a little more or less, or nothing
    first_factor = (last - 1) // 2
    c = np.ldexp(2.0 ** (exponent - last) + np.arange(40), last).astype(np.float32)
    beside = 1 + np.array([0, 2.0**-23, -(2.0**-24), 2.0**-22, -(2.0**-23), 1.0, -0.5])
    a = np.ldexp(beside, first_factor).astype(np.float32)
    b = np.ldexp([*beside, *-beside], last - 1 - first_factor).astype(np.float32)
    left: Float32 = np.stack([np.repeat(c, a.size), np.tile(a, c.size)], axis=1)
    right: Float32 = np.stack([np.ones_like(b), b])
    out = np.full((len(left), b.size), np.nan, dtype=np.float32)
    kernels.matmul(out, left, right, n_threads=1)
    np.testing.assert_array_equal(out, chain(left, right))
