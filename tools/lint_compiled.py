"""Rules for Cython and C: libm and BLAS, approximations, thread ids, and what the lint of flags and loops finds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.lint_finding import Finding
from tools.lint_flags import FLAG, ONE_SET, PRAGMA, REASON
from tools.lint_parallel import parallel_loops
from tools.lint_text import c_code, cython_code, line_of, matches

THREAD_IDS = (
    "threadid", "omp_get_thread_num", "omp_get_num_threads", "pthread_self", "gettid", "sched_getcpu", "getcpu",
)
# Each also with f or l at its end, and as a builtin.
LIBM = (
    "exp", "exp2", "exp10", "expm1", "log", "log2", "log10", "log1p", "pow", "powi", "cbrt", "hypot", "sin", "cos",
    "tan", "sincos", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf",
    "erfc", "tgamma", "lgamma", "gamma",
)
EXACT_LIBM = {
    "sqrt", "sqrtf", "fma", "fmaf", "fabs", "fabsf", "floor", "floorf", "ceil", "ceilf", "trunc", "truncf", "rint",
    "rintf", "nearbyint", "nearbyintf", "copysign", "copysignf", "ldexp", "frexp", "isfinite", "isnan", "isinf",
    "signbit", "INFINITY", "NAN", "HUGE_VAL", "M_PI",
}
LIBM_MODULES = ("libc.math", "libc.complex", "libcpp.cmath", "libcpp.complex", "numpy.math")
FOREIGN_MODULES = ("scipy", "cython_blas", "cython_lapack", "cython_special")
APPROXIMATE = (
    r"\b_mm\d*_(?:maskz?_)?(?:rcp|rsqrt)\w*|\b__builtin_ia32_(?:rcp|rsqrt)\w*"
    r"|\bvr(?:ecp|sqrt)[esx][a-z]*_\w+|\b__builtin_(?:aarch64|neon)_f?v?r(?:ecp|sqrt)\w*"
)
BLAS = r"\b(?:cblas_|LAPACKE_|mkl_|blis?_)\w+|\b[sdcz](?:gem[mv]|dot|axpy|nrm2|asum|ger|syrk|trsm)_\b"

ARITHMETIC = "numerics rule 5: libm's bits differ between machines; use mathf.h or mathd.h"
LIBRARY = "numerics rule 5: a library's bits differ between threads, shapes and cores"
APPROXIMATION = "numerics rule 5: an approximation that differs between processors"
THREAD = "what a thread computes must not depend on which thread it is"
PRANGE_ALONE = "only Cython's prange starts threads, where races are looked for"

_CALL = rf'(?<![\w.>])(?:__builtin_)?(?:{"|".join(LIBM)})[fl]?"?\s*\((?!\s*\))'
_OPENMP = r'(?:#\s*pragma|_Pragma\s*\(\s*")\s*omp\b.*'


def lint_cython(path: str, text: str) -> list[Finding]:
    """The findings of one .pyx or .pxd file."""
    code = cython_code(text)
    found = [*_source_rules(path, code), *parallel_loops(path, code), *_imports(path, code)]
    return sorted(found, key=lambda finding: finding.line)


def lint_c(path: str, text: str) -> list[Finding]:
    """The findings of one C file or header."""
    return sorted(_source_rules(path, c_code(text)), key=lambda finding: finding.line)


def _source_rules(path: str, code: str) -> list[Finding]:
    rules = (
        (FLAG, REASON, False),
        (PRAGMA, ONE_SET, False),
        (_OPENMP, PRANGE_ALONE, False),
        (rf"\b(?:{'|'.join(THREAD_IDS)})\b", THREAD, True),
        (APPROXIMATE, APPROXIMATION, True),
        (BLAS, LIBRARY, True),
        (_CALL, ARITHMETIC, True),
    )
    return [
        Finding(path, line, found.strip().rstrip('( "'), reason, arithmetic)
        for pattern, reason, arithmetic in rules
        for line, found in matches(pattern, code)
    ]


def _imports(path: str, code: str) -> Iterator[Finding]:
    """Names of libm, whole modules of it (whose functions are then called by any name), and other libraries."""
    for match in re.finditer(r"\bfrom\s+([\w.]+)\s+cimport\s+(\([^)]*\)|[^\n]*)", code):
        for name in re.findall(r"([\w*]+)(?:\s+as\s+\w+)?", match[2]):
            yield from _imported(path, line_of(match, code), match[1], name)
    for match in re.finditer(r"(?m)^\s*cimport\s+([^\n]*)", code):
        for module in re.findall(r"([\w.]+)(?:\s+as\s+\w+)?", match[1]):
            yield from _imported(path, line_of(match, code), module, "*")


def _imported(path: str, line: int, module: str, name: str) -> Iterator[Finding]:
    whole = f"{module}.{name}"
    if whole in LIBM_MODULES or (module in LIBM_MODULES and name not in EXACT_LIBM):
        yield Finding(path, line, whole, ARITHMETIC, is_arithmetic=True)
    elif any(part in FOREIGN_MODULES for part in whole.split(".")):
        yield Finding(path, line, whole, LIBRARY, is_arithmetic=True)
