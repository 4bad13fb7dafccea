"""Runs tests under AddressSanitizer and UndefinedBehaviorSanitizer (tools/asan.ini), and counts what these report.

    tox run -e asan
    python -m tools.asan tests/ops          in an environment with such a build

The libraries are preloaded, into every process that a test starts as well. Each report is a file, so none is lost
where a test expects its process to fail; and the run is void if the kernels are not instrumented, or a mistake that is
made on purpose is not reported.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.evidence import record

LEFT_OUT = (
    "--ignore=tests/docs",  # pages show what the ordinary build prints
    "--ignore=tests/benchmarks",  # they start workers with an environment of their own, and compare several builds
    # The sanitizer's stack frames are many times as large, and 16 KB are none of them.
    "--deselect=tests/race/test_oversubscription.py::test_no_cycle_hangs[small stacks]",
    # They are about several instruction sets; here is one.
    "--deselect=tests/test_golden.py::test_every_instruction_set",
    "--deselect=tests/cli/test_main.py::test_an_instruction_set_that_the_machine_lacks_is_wrong_usage",
    # A browser ends at the preloaded libraries.
    "--ignore=tests/reporting/test_chromium.py",
    # They measure memory and files, and the sanitizers add to both.
    "--deselect=tests/hostile/test_fuzz.py::test_memory_is_bounded",
    "--ignore=tests/hostile/test_large.py",
    "--ignore=tests/test_budgets.py",
    "--deselect=tests/test_memory.py::test_a_run_takes_what_is_estimated",
    "--deselect=tests/test_memory.py::test_a_dry_run_of_gpt2_takes_next_to_nothing",
)
MISTAKE = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.memset(ctypes.c_void_p(libc.malloc(16)), 0, 17)
"""


def environment(reports: Path) -> dict[str, str]:
    """What the libraries need, and where they report."""
    found = [
        subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        **os.environ, "LD_PRELOAD": " ".join(found), "PYTHONMALLOC": "malloc",
        # CPython leaves what it has to the system at its end.
        "ASAN_OPTIONS": f"detect_leaks=0:log_path={reports}/asan:exitcode=99",
        "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={reports}/ubsan",
    }


def modules() -> list[Path]:
    """The compiled ones, found without importing them: that takes the preloaded libraries."""
    spec = importlib.util.find_spec("cllm")
    assert spec is not None and spec.origin is not None
    return sorted((Path(spec.origin).parent / "_kernels").glob("*.so")) or [Path("none")]


def is_instrumented(module: Path) -> bool:
    return module.exists() and all(name in module.read_bytes() for name in (b"__asan_init", b"__ubsan_handle"))


def told(reports: Path) -> list[Path]:
    return sorted(path for path in reports.iterdir() if path.stat().st_size)


def passed(results: Path) -> int:
    """How many tests did, by the file that pytest has written."""
    text = results.read_text()
    results.unlink()
    suite = re.search(r'errors="(\d+)" failures="(\d+)" skipped="(\d+)" tests="(\d+)"', text)
    assert suite is not None, text[:500]
    errors, failures, skipped, tests = map(int, suite.groups())
    return tests - skipped - errors - failures


def main() -> int:
    if not all(is_instrumented(module) for module in modules()):
        print("void: the kernels are not those of tools/asan.ini", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        reports = Path(folder)
        surroundings = environment(reports)
        subprocess.run([sys.executable, "-c", MISTAKE], env=surroundings, check=False)
        if len(told(reports)) != 1:
            print("void: a write behind the end of a block was not reported", file=sys.stderr)
            return 1
        told(reports)[0].unlink()
        results = Path(folder + ".xml")
        words = ["pytest", *LEFT_OUT, f"--junitxml={results}", *sys.argv[1:]]
        code = subprocess.run([sys.executable, "-m", *words], env=surroundings, check=False).returncode
        for path in told(reports):
            print(f"--- {path.name}\n{path.read_text(errors='replace')[:5000]}")
        n_reports, n_tests = len(told(reports)), passed(results)
    print(f"sanitizer reports: {n_reports}, in {n_tests} tests")
    if not (code or n_reports):
        record("asan", tests=n_tests, reports=n_reports)
    return code or int(n_reports > 0)


if __name__ == "__main__":
    sys.exit(main())
