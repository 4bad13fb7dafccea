"""Finds what numerics.md forbids and no compiler warns of: `python -m tools.lint [FILE ...]`, 1 if anything is found.

Not a style checker (that is ruff). The rules are in lint_compiled.py for Cython and C, lint_parallel.py for what their
loops do, lint_flags.py for compiler flags, lint_python.py for Python, lint_unsafe.py for what Python may read; what is
exempt, and why, stands in EXEMPT below and nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tools.lint_compiled import lint_c, lint_cython
from tools.lint_finding import Finding
from tools.lint_flags import lint_build
from tools.lint_python import lint_python
from tools.lint_unsafe import lint_unsafe

ROOT = Path(__file__).resolve().parent.parent
ROOTS = ("src/cllm", "plugins", "benchmarks")
BUILD_FILES = ("meson.build", "meson.options", "pyproject.toml", "tox.ini")

# Path or folder, what of it ("" for everything), reason.
EXEMPT = (
    ("src/cllm/reference.py", "", "the float64 definition, which kernels approach and no run computes with"),
    ("src/cllm/ops", "", "each op's float64 definition"),
    ("src/cllm/kernels.py", "cumsum", "columns are counted: integers"),
    ("src/cllm/data/documents.py", "cumsum", "rows are counted: integers"),
    ("src/cllm/data/documents.py", "maximum.accumulate", "of places in a row: integers"),
    ("src/cllm/data/parts.py", "cumsum", "tokens are counted: integers"),
    ("src/cllm/data/answerspool.py", "cumsum", "tokens are counted: integers"),
    ("src/cllm/data/answerdraws.py", "cumsum", "tokens are counted: integers"),
    ("src/cllm/data/answerdraws.py", ".sum()", "tokens are counted: integers"),
    ("src/cllm/data/tokenstats.py", ".sum()", "tokens are counted: integers"),
    ("src/cllm/data/parts.py", ".sum()", "tokens are counted: integers"),
    ("src/cllm/data/split.py", ".sum()", "tokens are counted: integers"),
    ("src/cllm/_kernels/team.h", "omp_get_num_threads", "whether a team can meet: who computes an element, not how"),
    ("src/cllm/_kernels/runtime.h", "omp_get_thread_num", "which library it is from: it is not called"),
    ("src/cllm/_kernels/runtime.h", "omp_get_num_threads", "which library it is from: it is not called"),
    ("src/cllm/disorder.py", "from random", "in which order threads come: no bit may depend on it"),
    ("src/cllm/sampling.py", "add.accumulate", "NumPy documents it as one chain in ascending order"),
    ("src/cllm/progress.py", "import statistics", "seconds of steps, which are shown and decide nothing"),
    ("src/cllm/progress.py", "from statistics", "seconds of steps, which are shown and decide nothing"),
    ("src/cllm/stepping.py", "linalg", "how far a kernel is from the reference: shown, and no run computes with it"),
    ("src/cllm/growthchart.py", "math.log10", "the scale of a picture"),
    ("src/cllm/reporting/scale.py", "math.log10", "the scale of a picture"),
    ("src/cllm/reporting/scale.py", "**", "the scale of a picture"),
    ("src/cllm/interrupts.py", "current_thread", "Python's signals come to its main thread alone"),
    ("src/cllm/watching.py", "current_thread", "Python's signals come to its main thread alone"),
    ("src/cllm/profiling", "", "seconds and rates, which are shown and decide nothing"),
    ("src/cllm/testing", "", "what tests compute; no run does"),
    ("plugins/cllm-crystal/benchmarks", "", "means of losses, which are printed; no run reads them"),
    ("benchmarks", "", "they time peers and print; no run reads what they compute"),
)


def lint_all_python(path: str, text: str) -> list[Finding]:
    return [*lint_python(path, text), *lint_unsafe(path, text)]


LINTERS = {
    ".pyx": lint_cython, ".pxd": lint_cython, ".pxi": lint_cython, ".c": lint_c, ".h": lint_c, ".py": lint_all_python,
    ".build": lint_build, ".options": lint_build, ".toml": lint_build, ".ini": lint_build,
}


def files() -> Iterator[Path]:
    """Every file of the project that a rule is about."""
    for name in BUILD_FILES:
        yield ROOT / name
    for root in ROOTS:
        for path in sorted((ROOT / root).rglob("*")):
            hidden = any(part.startswith((".", "build", "__pycache__")) for part in path.relative_to(ROOT).parts[:-1])
            if path.suffix in LINTERS and not hidden and "tests" not in path.parts:
                yield path


def lint(path: str, text: str) -> list[Finding]:
    """The findings in one file, exempt ones left out; `path` is relative to the project."""
    found = LINTERS[Path(path).suffix](path, text)
    return [finding for finding in found if not is_exempt(finding)]


def is_exempt(finding: Finding) -> bool:
    """Build flags, races and what is read are exempt nowhere."""
    return any(
        finding.is_arithmetic and finding.what.startswith(what)
        and (finding.path == place or finding.path.startswith(place + "/"))
        for place, what, _ in EXEMPT
    )


def main(arguments: list[str]) -> int:
    """Prints every finding as PATH:LINE: what is wrong."""
    chosen = [Path(name).resolve() for name in arguments] or list(files())
    findings = [
        finding
        for path in chosen
        for finding in lint(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    for finding in findings:
        print(finding)
    print(f"{len(chosen)} files, {len(findings)} findings")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
