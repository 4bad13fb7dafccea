"""Rules for Cython, C and build files: races that compile silently, float reductions, flags, thread ids, libm."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.lint_finding import Finding

FLAGS = (
    r"-Ofast|-ffast-math|-funsafe-math-optimizations|-fassociative-math|-freciprocal-math|-ffinite-math-only"
    r"|-fno-signed-zeros|-fcx-limited-range|-ffp-contract=(?:fast|on)\b|-ffp-model=(?:fast|aggressive)"
    r"|-fp-model[ =]fast|/fp:fast|-mrecip|-mdaz-ftz"
)
# The same, said in the source: pragmas and attributes that change how one function is compiled.
PRAGMAS = (
    r"#\s*pragma\s+(?:STDC\s+FP_CONTRACT\s+(?:ON|DEFAULT)|GCC\s+optimize|clang\s+fp\b|float_control|fp_contract)"
    r"|_Pragma\s*\(.*(?:optimize|FP_CONTRACT|clang fp)|__attribute__\s*\(\(.*\b_*optimize_*\s*\("
)
APPROXIMATE = r"\b_mm\d*_(?:maskz?_)?(?:rcp|rsqrt)\w*|\bvr(?:ecp|sqrt)[es]q?_\w+"
THREAD_IDS = r"\b(?:threadid|omp_get_thread_num|omp_get_num_threads|pthread_self|gettid|sched_getcpu)\b"
LIBM = (
    r"(?:exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|cbrt|hypot|sin|cos|tan|sincos|asin|acos|atan|atan2|sinh|cosh"
    r"|tanh|asinh|acosh|atanh|erf|erfc|tgamma|lgamma|gamma)(?:f|l)?"
)
EXACT_LIBM = {
    "sqrt", "sqrtf", "fma", "fmaf", "fabs", "fabsf", "floor", "floorf", "ceil", "ceilf", "trunc", "truncf", "rint",
    "rintf", "nearbyint", "nearbyintf", "copysign", "copysignf", "ldexp", "frexp", "isfinite", "isnan", "isinf",
    "signbit", "INFINITY", "NAN", "HUGE_VAL", "M_PI",
}
INTEGER = r"(?:unsigned\s+|const\s+)*(?:int|long|short|char|bint|Py_ssize_t|size_t|ssize_t|u?int\d+_t|uintptr_t)"

RACE = "a race where threads write the same element; index it by the loop variable alone, or write to its own slice"
REDUCTION = "an OpenMP reduction adds in the order in which threads finish; give each thread its own and fold in order"
ARITHMETIC = "numerics rule 5: libm's bits differ between machines; use mathf.h or mathd.h"


def lint_cython(path: str, text: str) -> list[Finding]:
    """The findings of one .pyx or .pxd file."""
    code = _BLOCK.sub(_spaces_of, _blank_cython(text))
    found = [*_source_rules(path, code), *_parallel_loops(path, code)]
    for line, names in _libc_imports(code):
        found += [
            Finding(path, line, f"libc.math.{name}", ARITHMETIC, is_arithmetic=True)
            for name in names
            if name not in EXACT_LIBM
        ]
    return sorted(found, key=lambda finding: finding.line)


def lint_c(path: str, text: str) -> list[Finding]:
    """The findings of one C file or header."""
    code = _blank_c(text)
    found = [
        Finding(path, line, match.strip(), "only Cython's prange starts threads, where races are looked for")
        for line, match in _matches(r"#\s*pragma\s+omp\b.*", code)
    ]
    return sorted([*_source_rules(path, code), *found], key=lambda finding: finding.line)


def lint_build(path: str, text: str) -> list[Finding]:
    """The findings of a build or configuration file."""
    code = re.sub(r"(?m)^\s*#.*$", "", text)
    return [Finding(path, line, flag, "numerics rule 6") for line, flag in _matches(FLAGS, code)]


def _source_rules(path: str, code: str) -> list[Finding]:
    rules = (
        (FLAGS, "numerics rule 6", False),
        (PRAGMAS, "numerics rule 6: one set of flags for all code", False),
        (APPROXIMATE, "numerics rule 5: an approximation that differs between processors", True),
        (THREAD_IDS, "what a thread computes must not depend on which thread it is", False),
        (rf"(?<![\w.>])(?:__builtin_)?{LIBM}\s*\((?!\s*\))", ARITHMETIC, True),
    )
    return [
        Finding(path, line, found.strip().rstrip("("), reason, arithmetic)
        for pattern, reason, arithmetic in rules
        for line, found in _matches(pattern, code)
    ]


def _matches(pattern: str, code: str) -> Iterator[tuple[int, str]]:
    for match in re.finditer(pattern, code):
        yield code.count("\n", 0, match.start()) + 1, match[0]


def _libc_imports(code: str) -> Iterator[tuple[int, list[str]]]:
    for match in re.finditer(r"from\s+libc(?:pp)?\.(?:c?math|complex)\s+cimport\s+(\([^)]*\)|[^\n]*)", code):
        names = re.findall(r"(\w+)(?:\s+as\s+\w+)?", match[1])
        yield code.count("\n", 0, match.start()) + 1, names
    for match in re.finditer(r"\bcimport\s+libc\.math", code):
        yield code.count("\n", 0, match.start()) + 1, ["*"]


# --- parallel loops ---------------------------------------------------------------------------------------------


def _parallel_loops(path: str, code: str) -> list[Finding]:
    """Updates in place inside prange and parallel() bodies: Cython compiles them without a word."""
    lines, found = code.split("\n"), {}
    for number, line in enumerate(lines):
        loop = re.match(r"\s*for\s+(\w+)\s+in\s+(?:\w+\.)*prange\b", line)
        if loop or re.match(r"\s*with\s+.*\bparallel\s*\(", line):
            variable = loop[1] if loop else None
            integers = _integers(lines[:number])
            for at in _body(lines, number):
                for what, reason in _updates(lines[at], variable, integers):
                    found[at, what] = Finding(path, at + 1, what, reason)
    return list(found.values())


def _body(lines: list[str], header: int) -> range:
    """The lines of a block: all that are indented deeper than its header, which may take several lines."""
    end, depth = header, 0
    while end == header or (depth > 0 and end < len(lines)):
        depth += sum((c in "([{") - (c in ")]}") for c in lines[end])
        end += 1
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > _indent(lines[header])):
        end += 1
    return range(header, end)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _integers(before: list[str]) -> set[str]:
    """Names that the function around the last line declares as integers: their reductions are exact."""
    start = max((n for n, line in enumerate(before) if re.match(r"\s*c?p?def\b.*\(", line)), default=0)
    names: set[str] = set()
    for line in before[start:]:
        for declared in re.findall(rf"\b{INTEGER} +((?:\w+ *(?:=[^,]*)?(?:, *|$))+)", line):
            names |= set(re.findall(r"(\w+) *(?:=|,|$)", declared))
    return names


def _updates(line: str, variable: str | None, integers: set[str]) -> Iterator[tuple[str, str]]:
    operator = r"(?:\+|-|\*|/|//|%|&|\||\^|<<|>>|@)=(?!=)"
    for match in re.finditer(rf"([A-Za-z_][\w.]*(?:\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\][\w.]*)*)\s*{operator}", line):
        target = match[1]
        if "[" in target:
            indices = [index.strip() for group in re.findall(r"\[([^\]]*)\]", target) for index in group.split(",")]
            if variable is None or variable not in indices:
                yield match[0], RACE
        elif "." in target:
            yield match[0], RACE
        elif target not in integers:
            yield match[0], REDUCTION


# --- comments and strings, blanked so that lines keep their numbers ----------------------------------------------

_CYTHON = re.compile(
    r"(?s)(?P<text>" + r"|".join(rf"{q}(?:\\.|[^\\])*?{q}" for q in ('"""', "'''"))
    + r"|" + r"|".join(rf"{q}(?:\\.|[^{q}\\\n])*{q}" for q in "\"'") + r")|#[^\n]*"
)
_BLOCK = re.compile(r"(?s)/\*.*?\*/")  # of the C in Cython, where // divides
_C = re.compile(r"(?s)/\*.*?\*/|//[^\n]*")
_C_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')


def _blank_cython(text: str) -> str:
    """Without comments and strings; but the C between `cdef extern from *:` and its closing quotes is code."""

    def blank(match: re.Match[str]) -> str:
        is_code = match["text"] and re.search(r"cdef\s+extern\s+from\s+\S+(\s+nogil)?\s*:\s*$", text[: match.start()])
        return match[0] if is_code else _spaces(match[0])

    return _CYTHON.sub(blank, text)


def _blank_c(text: str) -> str:
    """Without comments, and without strings but those of attributes and _Pragma, which are code."""
    lines = _C.sub(_spaces_of, text).split("\n")
    return "\n".join(x if re.search(r"__attribute__|_Pragma", x) else _C_STRING.sub(_spaces_of, x) for x in lines)


def _spaces_of(match: re.Match[str]) -> str:
    return _spaces(match[0])


def _spaces(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
