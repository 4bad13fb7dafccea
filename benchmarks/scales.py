"""What is varied one at a time, and what grew with it: points, exponents, what is more than it should be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log

from benchmarks.task import Task

BASE = Task(vocab_size=256, block_size=64, n_layer=2, n_head=4, n_embd=128, batch_size=4)
HEAD_SIZE = 32
N_SEQUENCES = 32  # that are cut into shards
SUSPICIOUS = 0.25  # what an exponent may be above the one that it should be


@dataclass(frozen=True)
class Axis:
    """One quantity, its values, and the task of each."""

    letter: str
    what: str
    values: tuple[int, ...]
    task: Callable[[int], Task]


AXES = {
    axis.letter: axis
    for axis in (
        Axis("T", "tokens of a sequence", (128, 256, 512, 1024, 2048, 4096),
             lambda n: replace(BASE, block_size=n, batch_size=2, micro_batch_size=1)),
        Axis("C", "channels", (64, 128, 256, 512, 1024), lambda n: replace(BASE, n_embd=n, n_head=n // HEAD_SIZE)),
        Axis("V", "tokens of the vocabulary", (256, 1024, 4096, 16384, 65536), lambda n: replace(BASE, vocab_size=n)),
        Axis("S", "shards of the same batch", (1, 2, 4, 8, 16, 32),
             lambda n: replace(BASE, batch_size=N_SEQUENCES, micro_batch_size=N_SEQUENCES // n)),
        Axis("P", "parameters, by layers", (1, 2, 4, 8, 16, 32), lambda n: replace(BASE, n_layer=n)),
    )
}


@dataclass(frozen=True)
class Point:
    """One size: a step's median and range of seconds, and bytes, beside what they should be in proportion to."""

    x: int  # parameters for P, else the value
    seconds: float
    least: float
    most: float
    flops: float  # of a step
    memory: int | None  # resident at the most, above what a process without a model has
    counted: int  # what cllm counts before it takes any
    attention_seconds: float | None = None  # of a thread, for T alone
    attention_flops: float | None = None


@dataclass(frozen=True)
class Growth:
    """Exponents between the two largest points: y grows as x to the power of it."""

    time: float
    flops: float
    memory: float | None
    counted: float


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Of y = a x^k through the last two points."""
    return log(y[-1] / y[-2]) / log(x[-1] / x[-2])


def growth(points: Sequence[Point]) -> Growth:
    x = [float(point.x) for point in points]
    memory = [float(point.memory) for point in points if point.memory]
    return Growth(
        exponent(x, [point.seconds for point in points]), exponent(x, [point.flops for point in points]),
        exponent(x, memory) if len(memory) == len(points) else None,
        exponent(x, [float(point.counted) for point in points]),
    )


def findings(letter: str, points: Sequence[Point]) -> list[str]:
    """Sentences on what grows faster than it should; none where all is well."""
    found, last = growth(points), points[-1]
    said = []
    if found.time > found.flops + SUSPICIOUS:
        said.append(f"time grows as {letter}^{found.time:.2f} and FLOPs as {letter}^{found.flops:.2f}: a hidden cost")
    if found.memory is not None and found.memory > found.counted + SUSPICIOUS:
        said.append(f"memory grows as {letter}^{found.memory:.2f} and should as {letter}^{found.counted:.2f}")
    if letter == "T" and found.memory is not None and found.memory > 1.0 + SUSPICIOUS:
        said.append(f"memory grows as T^{found.memory:.2f}, which should be no more than T")
    if last.memory is not None and last.memory > 1.5 * last.counted:
        said.append(f"{last.memory / 1e6:,.0f} MB are resident where {last.counted / 1e6:,.0f} MB are counted")
    return said
