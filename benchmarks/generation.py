"""Greedy generation by cllm and by PyTorch with a cache: `python -m benchmarks.generation --config S --threads 1,2`.

Both have the weights of a run and must find the same logits and choose the same tokens; then they generate in turn,
A B A B, until the block is full, and medians are printed. Times are shown, never asserted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cllm
from benchmarks.generated import N_PROMPT, Generated, run_of
from benchmarks.machine import describe
from benchmarks.model import program_of
from benchmarks.options import names, numbers
from benchmarks.process import Worker
from benchmarks.rounds import Rounds, measure
from benchmarks.sides import usual_environment, worker_command
from benchmarks.task import TASKS, Task, write
from cllm.errors import count
from cllm.profiling.peak import measure_peak

FIRST_CHARACTER = 0x100  # of an alphabet of V characters, which makes the tokenizer char one of V tokens
TOLERANCE = 1e-4  # of logits, relative


@dataclass(frozen=True)
class Line:
    """One side on one number of threads: medians over its calls."""

    config: str
    n_threads: int
    side: str
    description: str
    tokens_per_second: float  # of whole calls
    each: float  # seconds from a token to the next
    first: float  # seconds to the first
    slowest: float  # and the range of tokens/s over the rounds
    fastest: float
    weights_per_second: float  # bytes of parameters, each read once a token
    bandwidth: float  # bytes a second that as many threads get from memory at the best
    memory: int | None
    quiet: bool


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    print(describe())
    lines, wrong = [], False
    for config in options.config:
        with TemporaryDirectory() as name:
            make_run(Path(name), TASKS[config])
            for n_threads in options.threads:
                found, same = compare(config, n_threads, Path(name), options.runs)
                lines += found
                wrong = wrong or not same
                print("\n".join(shown(line, found[0]) for line in found), flush=True)
    if options.json:
        whole = {"machine": describe(), "lines": [asdict(line) for line in lines]}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    return int(wrong)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=names(TASKS), default=("S",), help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--threads", type=numbers, default=(1, 2), help="one or several, as 1,2")
    parser.add_argument("--runs", type=int, default=7, help="calls of each side")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to it")
    return parser.parse_args(arguments)


def make_run(folder: Path, task: Task) -> None:
    """Train a moment; `folder` then has cllm's run, and its parameters as the weights of the other side."""
    text = folder / "text.txt"
    alphabet = "".join(chr(FIRST_CHARACTER + token) for token in range(task.vocab_size))
    text.write_text(alphabet * (1 + 4 * task.block_size // task.vocab_size), encoding="utf-8")
    base = {
        "model": {
            "block_size": task.block_size, "n_layer": task.n_layer, "n_head": task.n_head, "n_embd": task.n_embd,
            "bias": task.bias, "activation": task.activation,
        },
        "data": {"path": str(text), "tokenizer": "char", "validation": 0.0},
        "train": {"steps": 1, "batch_size": 1, "eval_every": 0},
        "sinks": {"console": False},
    }
    with cllm.Trainer(cllm.load_config(None, [], base), out=run_of(folder)) as trainer:
        for _ in trainer:
            pass
    model = cllm.load(run_of(folder))
    write(folder, task, dict(model.decoding.views(model.parameters)))


def compare(config: str, n_threads: int, folder: Path, n_rounds: int) -> tuple[list[Line], bool]:
    """A line for each side, and whether both chose the same tokens."""
    environment = usual_environment()
    with ExitStack() as stack:
        sides = {
            "cllm": worker(stack, "cllm-generate", folder, n_threads, {**environment, "CLLM_THREADS": str(n_threads)}),
            "eager": worker(stack, "torch-generate", folder, n_threads, environment),
        }
        problem = difference(*(side.first.found[0] for side in sides.values()))
        print(f"{config}, {count(n_threads, 'thread')}: {problem or f'the same tokens after {N_PROMPT}, and logits'}")
        rounds = measure([(side, 1) for side in sides.values()], n_rounds)
        bandwidth = measure_peak(n_threads).bandwidth
        lines = [
            line_of(config, n_threads, name, side, index, rounds, bandwidth)
            for index, (name, side) in enumerate(sides.items())
        ]
    return lines, problem is None


def worker(stack: ExitStack, side: str, folder: Path, n_threads: int, environment: dict[str, str]) -> Worker:
    return stack.enter_context(Worker(worker_command(side, folder, n_threads), environment))


def difference(ours: Generated, theirs: Generated) -> str | None:
    """Where tokens or logits first differ, if anywhere."""
    for place, (a, b) in enumerate(zip(ours["logits"], theirs["logits"], strict=True)):
        if not abs(a - b) <= TOLERANCE * abs(b):
            return f"NOT THE SAME: after token {place} of a block the largest logit is {a} and {b}"
    for place, (one, other) in enumerate(zip(ours["tokens"], theirs["tokens"], strict=True)):
        if one != other:
            return f"NOT THE SAME: token {place} is {one} and {other}"
    return None


def line_of(
    config: str, n_threads: int, name: str, side: Worker, index: int, rounds: Rounds, bandwidth: float
) -> Line:
    calls: list[Generated] = [runs[index].found[0] for runs in rounds.runs]
    rates = sorted(len(call["tokens"]) / call["whole"] for call in calls)
    each = median(call["each"] for call in calls)
    return Line(
        config, n_threads, name, side.description, median(rates), each, median(call["first"] for call in calls),
        rates[0], rates[-1], 4.0 * program_of(TASKS[config]).n_parameters / each, bandwidth, side.memory, rounds.quiet,
    )


def shown(line: Line, ours: Line) -> str:
    ratio = "" if line is ours else f"; cllm is {ours.tokens_per_second / line.tokens_per_second:.2f} times as fast"
    return (
        f"  {line.side}: {line.tokens_per_second:,.1f} tokens/s ({line.slowest:,.1f} to {line.fastest:,.1f}), "
        f"{1e3 * line.first:.2f} ms to the first, {1e3 * line.each:.3f} ms from one to the next, which reads the "
        f"weights at {line.weights_per_second / 1e9:.1f} of {line.bandwidth / 1e9:.1f} GB/s{ratio}"
        f"{'' if line.quiet else '; NOISY'}"
    )


if __name__ == "__main__":
    sys.exit(main())
