"""Runs the suites over everything that threads share under ThreadSanitizer: no report, or it fails.

    python -m tools.race [FILE ...]

It builds the kernels of one instruction set anew (tools/sanitizer.py) and runs the tests of FILEs, or of SUITES. A run
in which Archer does not announce itself is void, and an error: without it the sanitizer knows nothing of OpenMP.
"""

from __future__ import annotations

import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory

from cllm._kernels import cpu
from tests.evidence import record
from tools.kernelcopy import ROOT
from tools.sanitizer import Outcome, RaceBuild, missing

# Engine and executors in all ways of sharing, the passes over parameters, what checks and optimizers do with them,
# decoding, whole runs, and compiled code of other packages: parts of the tests' own, and a package of reducers.
SUITES = (
    "tests/test_disorder.py", "tests/test_engine.py", "tests/kernels/test_norms.py", "tests/kernels/test_reduce.py",
    "tests/kernels/test_initial.py", "tests/builtin/test_optimizers.py", "tests/builtin/test_checks.py",
    "tests/test_floats.py", "tests/test_generate.py", "tests/test_stepping.py", "tests/abi",
    "plugins/cllm-robust/tests",
)
PLUGIN = ROOT / "plugins/cllm-robust"
PATIENCE = 3600.0


def main(files: list[str]) -> int:
    """Returns 1 for a report, a failed test or a void run."""
    setuptools = [] if find_spec("setuptools") else ["setuptools: pip install setuptools"]
    if lacking := [*missing(), *setuptools]:
        raise SystemExit("\n".join(["The race build needs what this machine lacks:", *lacking]))
    begin = time.monotonic()
    isa = next(isa for isa in cpu.instruction_sets() if isa != "v4")  # which clang 14 may not know all of
    with TemporaryDirectory() as folder:
        build = RaceBuild(Path(folder), isa)
        build.install(PLUGIN)
        scenario = build.run(["-m", "tests.race.scenario"], PATIENCE)
        # Nothing is captured, so that Archer is heard.
        suites = build.run(["-m", "pytest", "-p", "no:cacheprovider", "-s", *(files or SUITES)], PATIENCE)
    for name, outcome in (("scenario", scenario), ("suites", suites)):
        show(name, outcome)
    if not files:
        passed = re.search(r"(\d+) passed", suites.output)
        record(
            "sanitizer", reports=len(scenario.reports) + len(suites.reports), tests=int(passed[1]) if passed else 0,
            minutes=round((time.monotonic() - begin) / 60),
        )
    return int(any(outcome.is_void or outcome.reports or outcome.code != 0 for outcome in (scenario, suites)))


def show(name: str, outcome: Outcome) -> None:
    for report in outcome.reports:
        print(report)
    if outcome.code != 0:
        print(outcome.output)
    heard = "Archer did not announce itself: VOID" if outcome.is_void else "with Archer"
    ended = "had to be ended" if outcome.code is None else f"ended with {outcome.code}"
    print(f"{name}: {ended}, {len(outcome.reports)} reports, {heard}; {outcome.output.strip().rpartition(chr(10))[2]}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CalledProcessError as failed:
        raise SystemExit(f"{' '.join(failed.cmd)}\n{failed.stdout}") from None
