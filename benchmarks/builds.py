"""What the compiler and the numerics specification cost: `python -m benchmarks.builds --builds O3,O2,O0,freed`.

Each build is installed from the sources into an environment of its own. `freed` is O3 without the specification: the
compiler may reorder sums, approximate reciprocals and assume that no NaN exists. The other builds, on every
instruction set, must find the very same losses; then all run in turn, A B C A B C, and medians are printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.machine import describe
from benchmarks.model import flops_of, prepare
from benchmarks.options import names
from benchmarks.pace import run_steps
from benchmarks.process import ROOT, Worker
from benchmarks.rounds import measure
from benchmarks.sides import usual_environment
from benchmarks.task import TASKS
from cllm._kernels import cpu

# No build of the project has these; the sources know of the define, which numbers such a build's numerics 0.
FREED = ("-DCLLM_FREED", "-ffast-math", "-mrecip", "-funroll-loops", "-fvariable-expansion-in-unroller")
BUILDS = {
    "O3": (), "O2": ("-Doptimization=2",), "O1": ("-Doptimization=1",), "O0": ("-Doptimization=0",),
    "freed": (f"-Dc_args={' '.join(FREED)}",),
}
N_CHECKED = 3  # steps whose losses are compared


@dataclass(frozen=True)
class Line:
    """One build on one instruction set."""

    build: str
    isa: str
    loss: float  # after N_CHECKED steps
    seconds: float  # a step, median
    least: float
    most: float
    flops: float  # a second


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    print(describe())
    with TemporaryDirectory() as name:
        pythons = {build: install(Path(name) / build, BUILDS[build]) for build in options.builds}
        lines, same = compare(pythons, options, Path(name) / "task")
    first = lines[0]
    for line in lines:
        milliseconds = "{:.3f} ms ({:.3f} to {:.3f})".format(*(1e3 * s for s in (line.seconds, line.least, line.most)))
        print(
            f"{line.build:6} {line.isa:9} {milliseconds:36} {line.flops / 1e9:8.1f} GFLOP/s  "
            f"{line.seconds / first.seconds:7.3f} of {first.build} {first.isa}  loss {line.loss!r}"
        )
    print("all but freed found the same losses, to the bit" if same else "THE LOSSES DIFFER")
    if options.json:
        whole = {"machine": describe(), "lines": [asdict(line) for line in lines]}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    return int(not same)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.builds", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", choices=sorted(TASKS), default="S")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--builds", type=names(BUILDS), default=("O3", "freed"), help=f"some of {', '.join(BUILDS)}")
    parser.add_argument("--isa", type=names(cpu.instruction_sets()), default=(), help="one or several; else the best")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="about as long as one run lasts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to it")
    return parser.parse_args(arguments)


def install(folder: Path, options: Sequence[str]) -> Path:
    """An environment with cllm as these options of the build make it; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    settings = [f"-Csetup-args={option}" for option in options]
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-cache-dir", *settings, str(ROOT)]
    subprocess.run(command, check=True, cwd=folder)
    return python


def compare(pythons: dict[str, Path], options: argparse.Namespace, folder: Path) -> tuple[list[Line], bool]:
    """A line for each, and whether all that must found the same losses."""
    task = replace(TASKS[options.config], dtype=options.dtype)
    prepare(folder, task)
    with ExitStack() as stack:
        sides = {
            (build, isa): stack.enter_context(Worker(
                [str(python), "-m", "benchmarks.worker", "cllm", str(folder), "--threads", str(options.threads)],
                {**usual_environment(), "CLLM_ISA": isa},
            ))
            for build, python in pythons.items()
            for isa in (options.isa or cpu.instruction_sets()[:1])
        }
        losses = {key: [*side.first.found, *side.run(N_CHECKED - 1).found] for key, side in sides.items()}
        paces = {key: side.run(1).seconds for key, side in sides.items()}
        n_steps = {key: run_steps(pace, options.seconds) for key, pace in paces.items()}
        rounds = measure([(side, n_steps[key]) for key, side in sides.items()], options.runs)
    kept = [found for (build, _), found in losses.items() if build != "freed"]
    lines = []
    for index, key in enumerate(sides):
        seconds = sorted(runs[index].seconds / n_steps[key] for runs in rounds.runs)
        middle = median(seconds)
        lines.append(Line(*key, losses[key][-1], middle, seconds[0], seconds[-1], flops_of(task) / middle))
    return lines, all(found == kept[0] for found in kept)


if __name__ == "__main__":
    sys.exit(main())
