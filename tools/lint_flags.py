"""Numerics rule 6: what compiler flags, pragmas and attributes may not say, and the flags that must be there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.lint_finding import Finding
from tools.lint_text import build_code, line_of, matches

# Each with whatever follows it: -mrecip=all, -ffp-contract=fast-honor-pragmas.
FLAGS = (
    "-Ofast", "-ffast-math", "-funsafe-math-optimizations", "-fassociative-math", "-freciprocal-math",
    "-ffinite-math-only", "-fno-signed-zeros", "-fcx-limited-range", "-fcx-fortran-rules", "-fapprox-func",
    "-fno-honor-nans", "-fno-honor-infinities", "-fdenormal-fp-math", "-ffp-contract=fast", "-ffp-contract=on",
    "-ffp-model=fast", "-ffp-model=aggressive", "-fp-model=fast", "-fp-model fast", "/fp:fast", "-mrecip",
    "-mdaz-ftz", "-menable-no-nans", "-menable-no-infs", "-menable-unsafe-fp-math",
)
# The same, said in the source, as #pragma or _Pragma: they change how one function is compiled.
PRAGMAS = (
    "STDC FP_CONTRACT ON", "STDC FP_CONTRACT DEFAULT", "STDC CX_LIMITED_RANGE ON", "GCC optimize", "clang fp",
    "float_control", "fp_contract",
)
# What meson compiles, each with numeric_flags, in which the required ones are.
TARGETS = (
    "extension_module", "static_library", "shared_library", "shared_module", "both_libraries", "library", "executable",
)
REQUIRED = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")

REASON = "numerics rule 6"
ONE_SET = "numerics rule 6: one set of flags for all code"
UNFLAGGED = "numerics rule 6: compiled without numeric_flags, the list of -ffp-contract=off and the like"

FLAG = "|".join(map(re.escape, FLAGS))
_WORDS = "|".join(rf"{words}\b".replace(" ", r"\s+") for words in PRAGMAS)
PRAGMA = rf'(?:#\s*pragma\s+|_Pragma\s*\(\s*")(?:{_WORDS})|__attribute__\s*\(\(.*\b_*optimize_*\s*\('
_TARGET = rf"\b(?:{'|'.join(TARGETS)})\s*\("


def lint_build(path: str, text: str) -> list[Finding]:
    """The findings of a build or configuration file."""
    code = build_code(text)
    found = [Finding(path, line, flag, REASON) for line, flag in matches(FLAG, code)]
    return sorted([*found, *_missing(path, code)], key=lambda finding: finding.line)


def _missing(path: str, code: str) -> Iterator[Finding]:
    """Flags that a file of meson's leaves out, of the list or of one thing that it builds."""
    if not path.endswith(".build"):
        return
    targets = list(re.finditer(_TARGET, code))
    for flag in REQUIRED:
        if targets and f"'{flag}'" not in code:
            yield Finding(path, line_of(targets[0], code), flag, f"{REASON}: it is not there")
    for target in targets:
        if not re.search(r"\bc_args\s*:\s*numeric_flags\b", _arguments(code, target.end())):
            yield Finding(path, line_of(target, code), target[0].rstrip("( "), UNFLAGGED)


def _arguments(code: str, start: int) -> str:
    """What stands between a bracket that is open at `start` and the one that closes it."""
    depth, end = 1, start
    while depth and end < len(code):
        depth += (code[end] in "([") - (code[end] in ")]")
        end += 1
    return code[start:end]
