"""A training step by cllm and by PyTorch, side by side: `python -m benchmarks.compare --config S --threads 2`.

A step is forward, backward, reduction over shards, norm and finite check, clipping, AdamW. Both sides start from the
same weights and must find the same losses for ten steps; then they run in turn, A B A B, and the medians are printed.
Times are shown, never asserted. Run it in an environment that has cllm and PyTorch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.machine import Run, Worker, mkl_as_intel
from benchmarks.task import TASKS, Task, write
from cllm.initialise import initial_parameters
from cllm.models.gpt2 import build

# A variable of the shell would decide which kernels or how many threads a side uses.
UNSET = ("OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
N_FIRST, N_WARM = 10, 10  # steps whose losses are compared, and steps that tell how many make a run
QUIET = 0.1  # of a core: what others may use during a run that counts


def main() -> int:
    arguments = parse()
    task = TASKS[arguments.config]
    flops = build(task.shape, "train").flops_per_token(task.block_size)
    with workers(arguments, task) as sides:
        print(f"config {arguments.config}: {task}, {arguments.threads} threads")
        first = [side.run(N_FIRST).losses for side in sides]
        print(f"loss at the given weights {first[0][0]:.7f} and {first[1][0]:.7f}, ten steps on "
              f"{first[0][-1]:.7f} and {first[1][-1]:.7f}")
        if not agree(*first):
            print("the two do not compute the same; nothing is measured", file=sys.stderr)
            return 1
        slower = max(side.run(N_WARM).seconds for side in sides) / N_WARM
        n_steps = max(1, round(arguments.seconds / slower))
        runs, disturbed = measure(sides, arguments.runs, n_steps)
        show(sides, runs, n_steps, task, flops)
        print(f"{len(runs[0])} runs each of {n_steps} steps; {disturbed} more, during which others used over "
              f"{QUIET:.0%} of a core, left out; load {os.getloadavg()[0]:.2f}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", choices=TASKS, default="S")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7, help="of each side, at least 5")
    parser.add_argument("--seconds", type=float, default=2.0, help="about as long as one run lasts")
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused AdamW, which nanoGPT leaves to GPUs")
    parser.add_argument(
        "--mkl-as-intel", action="store_true",
        help="make MKL use its AVX-512 code on AMD too, by a preloaded function (needs a C compiler)",
    )
    arguments = parser.parse_args()
    if arguments.runs < 5 or arguments.threads < 1:
        parser.error("at least 5 runs and 1 thread")
    return arguments


@contextmanager
def workers(arguments: argparse.Namespace, task: Task) -> Iterator[tuple[Worker, Worker]]:
    """cllm's process and PyTorch's, on the same weights and batches."""
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # NumPy only reads files here; idle threads of its pool would spin
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        program = build(task.shape, "train")
        write(folder, task, dict(program.views(initial_parameters(program, 1337))))
        theirs = dict(environment)
        if arguments.mkl_as_intel:
            theirs["LD_PRELOAD"] = str(mkl_as_intel(folder))
        options = [str(folder), "--threads", str(arguments.threads)]
        fused = ["--fused"] if arguments.fused else []
        yield (
            stack.enter_context(Worker(["cllm", *options], environment)),
            stack.enter_context(Worker(["torch", *options, *fused], theirs)),
        )


def agree(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """The first loss to rounding; later ones show that clipping and AdamW are the same too."""
    bounds = [1e-6] + [1e-4] * (len(ours) - 1)
    return all(abs(a - b) <= bound * abs(b) for a, b, bound in zip(ours, theirs, bounds, strict=True))


def measure(sides: Sequence[Worker], n_runs: int, n_steps: int) -> tuple[list[list[Run]], int]:
    """Quiet runs of each side, in pairs one after the other, and how many pairs were not; all if too few were."""
    quiet: list[tuple[Run, ...]] = []
    others: list[tuple[Run, ...]] = []
    while len(quiet) < n_runs and len(quiet) + len(others) < 4 * n_runs:
        pair = tuple(side.run(n_steps) for side in sides)
        (quiet if all(run.others <= QUIET for run in pair) else others).append(pair)
    if len(quiet) < n_runs:
        print(f"the machine is not quiet: only {len(quiet)} of {4 * n_runs} pairs were; all count")
        quiet, others = quiet + others, []
    return [list(runs) for runs in zip(*quiet, strict=True)], len(others)


def show(sides: Sequence[Worker], runs: list[list[Run]], n_steps: int, task: Task, flops: float) -> None:
    """A line or two a side, then the ratios of the medians and the range of the pairs' ratios.

    Processor time is shown because a busy machine disturbs it less than it does wall time, most so with one thread.
    """
    n_tokens = task.batch_size * task.block_size
    for side, own in zip(sides, runs, strict=True):
        seconds = sorted(run.seconds / n_steps for run in own)
        rate = n_tokens / median(seconds)
        busy = median([run.busy / n_steps for run in own])
        print(f"{side.description}: {1e3 * median(seconds):.3f} ms a step ({1e3 * seconds[0]:.3f} to "
              f"{1e3 * seconds[-1]:.3f}), processor time {1e3 * busy:.3f} ms, {rate:,.0f} tokens/s, "
              f"{rate * flops / 1e9:.1f} GFLOP/s")
    ours, theirs = runs
    ratios = sorted(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True))
    ratio = median([run.seconds for run in theirs]) / median([run.seconds for run in ours])
    busy_ratio = median([run.busy for run in theirs]) / median([run.busy for run in ours])
    print(f"cllm is {ratio:.2f} times as fast (pairs: {ratios[0]:.2f} to {ratios[-1]:.2f}); "
          f"PyTorch uses {busy_ratio:.2f} times the processor time")


if __name__ == "__main__":
    sys.exit(main())
