"""A comparison as it might have been found, for tests of what is made of it."""

from __future__ import annotations

from benchmarks.results import Comparison, Side
from benchmarks.task import TASKS


def side(name: str, seconds: tuple[float, ...], note: str = "") -> Side:
    return Side(
        name, f"{name} 1.0", note, losses=(4.6, 4.5), n_steps=3, seconds=seconds, busy=tuple(2 * x for x in seconds),
        start_seconds=1.25, memory=48_000_000, installed=None,
    )


def comparison(quiet: bool = True) -> Comparison:
    """256 tokens and 1e9 FLOPs a step; cllm takes 10 ms, the peer 20."""
    ours, theirs = side("cllm", (0.010, 0.009, 0.020)), side("eager", (0.020, 0.036, 0.010), "with | a note")
    return Comparison(
        "XS", TASKS["XS"], 2, (ours, theirs), disturbed=4, quiet=quiet, peaks=(1e11, 2e11), flops=1e9,
        left_out={"jax": "jax is not installed"},
    )
