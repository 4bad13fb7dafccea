"""Ranks beside threads, and beside what a model foresees: `python -m benchmarks.ranks --config S,M --ranks 2`.

Every side has processes of its own, started by mpiexec, and they take turns. What the communicator needs for a word and
for a gradient is measured in the same processes. Needs the package cllm-mpi and an MPI.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import describe
from benchmarks.model import prepare
from benchmarks.options import names, numbers
from benchmarks.pace import run_steps
from benchmarks.process import Worker
from benchmarks.rankmodel import Costs, moved_bytes
from benchmarks.rounds import measure
from benchmarks.sides import usual_environment
from benchmarks.task import TASKS


@dataclass(frozen=True)
class Line:
    """Some ranks of some threads on one config; seconds are medians over rounds, and those of the fastest."""

    config: str
    n_ranks: int
    n_threads: int  # of each
    seconds: float  # of a step
    least: float
    foreseen: float | None  # by the model, from one rank of one thread; None where it is not asked
    least_foreseen: float | None
    latency: float  # seconds of a word; 0.0 where there is nobody to hear it
    bandwidth: float  # bytes a second that a rank sends
    quiet: bool


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__)
    parser.add_argument("--config", type=names(TASKS), default=("S", "M"))
    parser.add_argument("--ranks", type=numbers, default=(2,), help="besides one, each with one thread")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    lines = [line for config in options.config for line in compare(config, options)]
    if options.json:
        print(json.dumps({"machine": describe(), "lines": [asdict(line) for line in lines]}, indent=1))
        return 0
    print(describe())
    for line in lines:
        print(shown(line))
    return 0


def compare(config: str, options: argparse.Namespace) -> list[Line]:
    """One rank of one thread, one of as many threads as there will be ranks, and so many ranks of one."""
    sides = [(1, 1), *((1, n) for n in options.ranks), *((n, 1) for n in options.ranks)]
    with TemporaryDirectory() as folder, ExitStack() as stack:
        prepare(Path(folder), TASKS[config])
        workers = [stack.enter_context(Worker(command(*side, folder), usual_environment())) for side in sides]
        slowest = max(worker.run(2).seconds / 2 for worker in workers)
        n_steps = run_steps(slowest, options.seconds)
        rounds = measure([(worker, n_steps) for worker in workers], options.rounds)
        facts: list[dict[str, Any]] = [json.loads(worker.description) for worker in workers]
    times = [[runs[place].seconds / n_steps for runs in rounds.runs] for place in range(len(sides))]
    shards = [seconds for runs in rounds.runs for seconds in runs[0].found]
    size = facts[0]["n_shards"], facts[0]["n"]
    usual = Costs(median(shards), median(times[0]) - median(shards), *size)
    best = Costs(min(shards), min(times[0]) - min(shards), *size)
    return [
        line_of(config, side, one, fact, (usual, best), rounds.quiet)
        for side, one, fact in zip(sides, times, facts, strict=True)
    ]


def line_of(
    config: str, side: tuple[int, int], times: list[float], fact: dict[str, Any], costs: tuple[Costs, Costs],
    quiet: bool,
) -> Line:
    """costs: by medians, and by what was fastest."""
    n_ranks, n_threads = side
    if n_ranks == 1:
        return Line(config, n_ranks, n_threads, median(times), min(times), None, None, 0.0, 0.0, quiet)
    moved, latency = moved_bytes(costs[0].n_parameters, n_ranks), fact["latency"]
    foreseen, least = (
        one.seconds(n_ranks, latency, moved / fact[moving])
        for one, moving in zip(costs, ("moving", "least_moving"), strict=True)
    )
    bandwidth = moved / fact["moving"]
    return Line(config, n_ranks, n_threads, median(times), min(times), foreseen, least, latency, bandwidth, quiet)


def command(n_ranks: int, n_threads: int, folder: str) -> list[str]:
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else shutil.which("mpiexec") or "mpiexec"
    worker = [sys.executable, "-m", "benchmarks.rank_worker", folder, "--threads", str(n_threads)]
    return [launcher, "-n", str(n_ranks), *worker]


def shown(line: Line) -> str:
    text = f"{line.config:5} {line.n_ranks} x {line.n_threads}  a step {_milliseconds(line.seconds, line.least)}"
    if line.foreseen is not None and line.least_foreseen is not None:
        text += f", foreseen {_milliseconds(line.foreseen, line.least_foreseen)}"
        text += f"; a word {1e6 * line.latency:.0f} us, {line.bandwidth / 1e9:.2f} GB/s"
    return text + ("" if line.quiet else "; NOISY")


def _milliseconds(usual: float, least: float) -> str:
    return f"{1e3 * usual:.2f} ms (fastest {1e3 * least:.2f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
