"""Seeds the races of tests/race/mutants.py, one after the other, and counts how many are caught: it must be all.

    python -m tools.mutants [--digests-only] [NAME ...]

Each is first run for its digests, in a build by the C compiler that is at hand, and if that finds nothing, under
ThreadSanitizer (tools/sanitizer.py). Both run tests/race/scenario.py. --digests-only: those that SHORT names, which
need no sanitizer.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory

from cllm._kernels import cpu
from tests.evidence import record
from tests.race.mutants import MUTANTS, SHORT, Mutant
from tools.kernelcopy import KernelCopy, c_compiler
from tools.sanitizer import RaceBuild, missing, run_to_end

SCENARIO = ["-m", "tests.race.scenario"]
PATIENCE = 600.0  # seconds for a run without a mistake, which takes 5, and under the sanitizer 30


class Digests:
    """A build in which a mutant is caught by a wrong bit, a crash or a hang."""

    def __init__(self, folder: Path, isa: str, kernels: set[str]) -> None:
        """kernels: those that will be built; the others are the installed ones."""
        folder.mkdir()
        self.copy = KernelCopy(folder, isa, c_compiler())
        self.copy.build(*kernels)
        self.copy.take_installed()

    def verdict(self, patience: float) -> str | None:
        """How the copy as it is was caught, None if it was not; in so many seconds it is done, or hangs."""
        code, output = run_to_end([sys.executable, "-S", *SCENARIO], self.copy.environment(), patience)
        if code is None or code < 0:
            return "it hangs" if code is None else f"it ends by signal {-code}"
        return output.strip().rpartition("\n")[2] if code else None


class Sanitizer:
    """A build in which a mutant is caught by a report."""

    def __init__(self, folder: Path, isa: str) -> None:
        folder.mkdir()
        self._build = RaceBuild(folder, isa)
        self.copy = self._build.copy

    def verdict(self, patience: float) -> str | None:
        """How the copy as it is was caught, None if it was not; in so many seconds it is done, or hangs."""
        found = self._build.run(SCENARIO, patience, halts=True)
        if found.is_void:
            raise SystemExit(f"Archer did not announce itself: the run is void\n{found.output}")
        if found.reports:
            return f"ThreadSanitizer: {next(line for line in found.reports[0].splitlines() if '#0' in line).strip()}"
        return None if found.code == 0 else f"it ended with {found.code} under the sanitizer"


@contextmanager
def seeded(mutant: Mutant, copy: KernelCopy) -> Iterator[None]:
    """The copy has the mistake while inside."""
    path = copy.package / mutant.file
    right = path.read_text(encoding="utf-8")
    wrong = right
    for old, new in mutant.changes:
        if wrong.count(old) != 1:
            raise SystemExit(f"{mutant.name}: {old!r} is {wrong.count(old)} times in {mutant.file}; correct the mutant")
        wrong = wrong.replace(old, new)
    path.write_text(wrong, encoding="utf-8")
    try:
        if mutant.kernels:
            copy.build(*mutant.kernels)
        yield
    finally:
        path.write_text(right, encoding="utf-8")


def caught(mutant: Mutant, builds: dict[Digests | Sanitizer, float]) -> str | None:
    """How, by the first build that does; every build ends as it was."""
    how = None
    for build, patience in builds.items():
        if how is None:
            with seeded(mutant, build.copy):
                how = build.verdict(patience)
            if mutant.kernels:
                build.copy.build(*mutant.kernels)
    return how


def main(arguments: list[str]) -> int:
    """Returns how many were not caught."""
    parser = ArgumentParser(prog="python -m tools.mutants")
    parser.add_argument("--digests-only", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    wanted = SHORT if options.digests_only else MUTANTS
    chosen = [mutant for mutant in wanted if not options.names or mutant.name in options.names]
    if missing() and not options.digests_only:
        raise SystemExit("\n".join(["To seed races that only a sanitizer sees, this machine lacks", *missing()]))
    begin = time.monotonic()
    with TemporaryDirectory() as name:
        builds = {build: patience_with(build) for build in builds_for(Path(name), chosen, options.digests_only)}
        n_caught = sum(report(mutant, caught(mutant, builds)) for mutant in chosen)
    print(f"{n_caught} of {len(chosen)} seeded races caught, {100 * n_caught // len(chosen)} %", flush=True)
    if not options.names and not options.digests_only:
        record("mutants", seeded=len(chosen), caught=n_caught, minutes=round((time.monotonic() - begin) / 60))
    return len(chosen) - n_caught


def builds_for(folder: Path, chosen: list[Mutant], digests_only: bool) -> list[Digests | Sanitizer]:
    isa = next(isa for isa in cpu.instruction_sets() if isa != "v4")  # which clang 14 may not know all of
    kernels = {kernel for mutant in chosen for kernel in mutant.kernels}
    builds: list[Digests | Sanitizer] = [Digests(folder / "digests", isa, kernels)]
    return builds if digests_only else [*builds, Sanitizer(folder / "sanitizer", isa)]


def patience_with(build: Digests | Sanitizer) -> float:
    """Many times the seconds that a run takes without a mistake; in which nothing may be caught, or nothing follows."""
    begin = time.monotonic()
    how = build.verdict(PATIENCE)
    if how is not None:
        raise SystemExit(f"without any mutant: {how}")
    return 30.0 + 6.0 * (time.monotonic() - begin)


def report(mutant: Mutant, how: str | None) -> bool:
    print(f"{'caught' if how else 'NOT CAUGHT'}: {mutant.name}{f' ({how[:150]})' if how else ''}", flush=True)
    return how is not None


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CalledProcessError as failed:
        raise SystemExit(f"{' '.join(failed.cmd)}\n{failed.stdout}") from None
