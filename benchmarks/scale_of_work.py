"""How cllm's step grows with the work: `python -m benchmarks.scale_of_work --svg growth.svg`.

One of T (tokens of a sequence), C (channels), V (vocabulary), S (shards) and P (parameters) is varied at a time, each
size in a process of its own; they run in turn. Time stands beside FLOPs and memory beside what cllm counts before it
takes any, so that a cost which nobody asked for shows. Times are shown, never asserted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.cllm_step import CllmStep
from benchmarks.loglog import chart
from benchmarks.machine import describe
from benchmarks.model import flops_of, prepare, program_of
from benchmarks.options import names
from benchmarks.pace import run_steps
from benchmarks.process import Worker
from benchmarks.rounds import measure
from benchmarks.scales import AXES, BASE, Axis, Point, findings, growth
from benchmarks.sides import usual_environment, worker_command
from benchmarks.tables import milliseconds, size
from benchmarks.task import Task
from cllm.builtin.optimizers import AdamW, AdamWConfig
from cllm.builtin.reducers import TreeReducer
from cllm.memory import run_memory
from cllm.profiling.profile import Profile

HEAD = f"{'':>12}  {'ms a step':>9}  {'range':>17}  {'GFLOP':>8}  {'GFLOP/s':>7}  {'memory':>9}  {'counted':>9}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    print(f"{describe()}; {options.threads} threads")
    found: dict[str, list[Point]] = {}
    for letter in options.axis:
        axis = AXES[letter]
        points, quiet = measure_axis(axis, axis.values[: options.points], options)
        found[letter] = points
        print(f"\n{letter}, {axis.what}{'' if quiet else '; NOISY'}\n{shown(letter, points)}", flush=True)
    if options.json:
        whole = {letter: [asdict(point) for point in points] for letter, points in found.items()}
        options.json.write_text(json.dumps({"machine": describe(), "points": whole}, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(chart(found), encoding="utf-8")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    first = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_of_work", description=first)
    parser.add_argument("--axis", type=names(AXES), default=tuple(AXES), help=f"some of {', '.join(AXES)}")
    parser.add_argument("--points", type=int, metavar="N", help="only the smallest N sizes of each, at least 2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="of each size")
    parser.add_argument("--seconds", type=float, default=1.0, help="about as long as one run lasts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all points to it")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them")
    options = parser.parse_args(arguments)
    if (options.points or 2) < 2 or options.threads < 1 or options.runs < 1 or not options.seconds > 0.0:
        parser.error("at least 2 points, 1 thread, 1 run and more than 0 seconds")
    return options


def measure_axis(axis: Axis, values: Sequence[int], options: argparse.Namespace) -> tuple[list[Point], bool]:
    """A point for every value, and whether others left the machine alone meanwhile."""
    n_threads: int = options.threads
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        bare = memory_without_model(folder / "bare", n_threads)
        workers = [start(stack, folder / str(value), axis.task(value), n_threads) for value in values]
        running = [(worker, run_steps(worker.run(2).seconds / 2, options.seconds)) for worker in workers]
        rounds = measure(running, options.runs)
        points = []
        for index, (value, (worker, n_steps)) in enumerate(zip(values, running, strict=True)):
            task, memory, x = axis.task(value), worker.memory, value
            if axis.letter == "P":
                x = program_of(task).n_parameters
            seconds = sorted(runs[index].seconds / n_steps for runs in rounds.runs)
            points.append(Point(
                x, median(seconds), seconds[0], seconds[-1], flops_of(task),
                None if memory is None or bare is None else memory - bare,
                counted(task, n_threads),
                *(attention_of(folder / str(value), n_threads) if axis.letter == "T" else ()),
            ))
    return points, rounds.quiet


def start(stack: ExitStack, folder: Path, task: Task, n_threads: int) -> Worker:
    prepare(folder, task)
    return stack.enter_context(Worker(worker_command("cllm", folder, n_threads), usual_environment()))


def memory_without_model(folder: Path, n_threads: int) -> int | None:
    """What Python, its libraries and next to no model take."""
    with ExitStack() as stack:
        return start(stack, folder, replace(BASE, block_size=8, n_layer=1, n_head=1, n_embd=8), n_threads).memory


def counted(task: Task, n_threads: int) -> int:
    """Bytes that cllm expects of such a run."""
    optimizer = AdamW(AdamWConfig())
    return sum(run_memory(
        program_of(task), None, optimizer, TreeReducer(), batch_size=task.batch_size, n_threads=n_threads,
        micro_batch_size=task.micro_batch_size,
    ).values())


def attention_of(folder: Path, n_threads: int) -> tuple[float, float]:
    """Seconds of a thread and FLOPs that attention, forward and backward, takes in a step; of three, the shortest."""
    step, found = CllmStep(folder, n_threads), []
    step(0)
    for number in range(1, 4):
        with step.engine.recording(1) as recorded:
            step(number)
            threads = [events.copy() for events in recorded.threads()]
        engine, rows = step.engine, step.engine.shard_rows
        lines = Profile(engine.program, 1, n_threads, sum(rows), threads, [], rows, engine.sharing).lines()
        attention = [line for line in lines if line.name == "attn"]
        found.append((sum(x.seconds for x in attention) / n_threads, sum(x.flops for x in attention)))
    return min(found)


def shown(letter: str, points: Sequence[Point]) -> str:
    """A table, the exponents between its last two rows, and what they find."""
    lines = [HEAD + (f"  {'attention':>11}  {'GFLOP/s':>7}" if letter == "T" else "")]
    for p in points:
        line = (
            f"{p.x:>12,}  {milliseconds(p.seconds):>9}  {f'{milliseconds(p.least)}-{milliseconds(p.most)}':>17}  "
            f"{p.flops / 1e9:>8.3f}  {p.flops / p.seconds / 1e9:>7.1f}  {size(p.memory):>9}  {size(p.counted):>9}"
        )
        if p.attention_seconds is not None and p.attention_flops is not None:
            rate = p.attention_flops / p.attention_seconds / 1e9
            line += f"  {milliseconds(p.attention_seconds):>8} ms  {rate:>7.1f}"
        lines.append(line)
    found = growth(points)
    memory = "" if found.memory is None else f"memory as {letter}^{found.memory:.2f}, "
    lines.append(
        f"between the last two: time as {letter}^{found.time:.2f}, FLOPs as {letter}^{found.flops:.2f}, {memory}"
        f"counted as {letter}^{found.counted:.2f}"
    )
    return "\n".join([*lines, *findings(letter, points)])


if __name__ == "__main__":
    sys.exit(main())
