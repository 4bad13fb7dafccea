"""What judging costs: `python -m benchmarks.cost_of_checks --config S,M`.

Of two runs of one model in one process, one makes bare steps, that is gradient and update, and the other is judged by
every built-in check with its defaults, its norms and views included. They take turns, block by block.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.cllm_step import CllmStep
from benchmarks.machine import describe
from benchmarks.model import prepare
from benchmarks.options import names
from benchmarks.task import TASKS
from cllm.config import Part
from cllm.hooks.manager import build_manager
from cllm.hooks.protocols import StabilityCheck


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost_of_checks", description=__doc__)
    parser.add_argument("--config", type=names(TASKS), default=("S", "M"), help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=15, help="of each side, taking turns")
    parser.add_argument("--seconds", type=float, default=1.0, help="about as long as one block lasts")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    print(f"{describe()}; {options.threads} threads")
    for name in options.config:
        bare, judged = measure(name, options.threads, options.blocks, options.seconds)
        cost = 100.0 * (judged / bare - 1.0)
        print(f"{name:>6}: bare {bare * 1e3:.3f} ms, judged {judged * 1e3:.3f} ms, {cost:+.2f} %", flush=True)
    return 0


def measure(name: str, n_threads: int, n_blocks: int, seconds: float) -> tuple[float, float]:
    """Seconds a step of both sides, medians over their blocks."""
    with TemporaryDirectory() as folder:
        prepare(Path(folder) / "task", TASKS[name])
        sides = [CllmStep(Path(folder) / "task", n_threads, every_check()) for _ in range(2)]
        steps: tuple[Callable[[int], float], ...] = (lambda step: bare_step(sides[0], step), sides[1])
        for step in steps:
            for n in range(3):
                step(n)
        size = max(2, round(seconds / block(steps[0], 3)))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(n_blocks):
            for step, found in zip(steps, times, strict=True):
                found.append(block(step, size))
    return median(times[0]), median(times[1])


def block(step: Callable[[int], float], n_steps: int) -> float:
    """Seconds a step."""
    begin = perf_counter()
    for n in range(n_steps):
        step(n)
    return (perf_counter() - begin) / n_steps


def bare_step(side: CllmStep, step: int) -> float:
    """Gradient and update, which nobody looks at."""
    parts = side.parts
    gradient = parts.engine.gradient(parts.state.parameters, side.batches[step % len(side.batches)], parts.reducer)
    parts.optimizer.step(
        parts.state.parameters, gradient.gradient, learning_rate=parts.learning_rate(), gradient_scale=1.0,
        n_threads=parts.n_threads,
    )
    loss: float = gradient.loss
    return loss


def every_check() -> dict[str, StabilityCheck]:
    """All that cllm comes with, with their defaults."""
    plugins = build_manager(installed=False)
    return plugins.make_checks({name: Part(name) for name in plugins.names("check")})


if __name__ == "__main__":
    sys.exit(main())
