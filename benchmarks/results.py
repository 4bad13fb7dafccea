"""What a comparison found, as values: sides, their runs, the ratios between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.task import Task


@dataclass(frozen=True)
class Side:
    """One side's runs, in the order in which rounds went by, and what it took besides time."""

    name: str
    description: str
    note: str
    losses: tuple[float, ...]  # of the first steps, from the given weights on
    n_steps: int  # of a run
    seconds: tuple[float, ...]  # of a step, one a round
    busy: tuple[float, ...]  # processor seconds of a step, waiting in a spin included
    start_seconds: float  # from the process' start to the end of its first step
    memory: int | None  # bytes resident at the most
    installed: int | None  # bytes on disk

    @property
    def median(self) -> float:
        return median(self.seconds)


@dataclass(frozen=True)
class Comparison:
    """All sides on one task; the first is cllm."""

    config: str
    task: Task
    n_threads: int
    sides: tuple[Side, ...]
    disturbed: int  # rounds left out, because others used the machine meanwhile
    quiet: bool  # False: too few rounds were free of others, and all count
    peaks: tuple[float, float]  # FLOP/s of all threads, before and after
    flops: float  # of a step
    left_out: dict[str, str]  # peers that did not run, and why

    def tokens_per_second(self, side: Side) -> float:
        return self.task.n_tokens / side.median

    def rate(self, side: Side) -> float:
        """The model's FLOP/s: what a side computes besides counts for nothing."""
        return self.flops / side.median

    def utilisation(self, side: Side) -> float:
        """MFU: of the better of both peaks, which are float32's for sides that compute in bfloat16 too."""
        return self.rate(side) / max(self.peaks)

    def ratio(self, side: Side) -> float:
        """How many times as fast as this side cllm is."""
        return side.median / self.sides[0].median

    def ratios(self, side: Side) -> tuple[float, float]:
        """The least and the largest of a round."""
        by_round = sorted(b / a for a, b in zip(self.sides[0].seconds, side.seconds, strict=True))
        return by_round[0], by_round[-1]

    def busy_ratio(self, side: Side) -> float:
        """The same of processor time, which a busy machine disturbs less, most so with one thread."""
        return median(side.busy) / median(self.sides[0].busy)

    def as_json(self) -> dict[str, Any]:
        """Everything, and the numbers that follow from it."""
        whole = asdict(self)
        for side, written in zip(self.sides, whole["sides"], strict=True):
            least, most = self.ratios(side)
            written |= {
                "median_seconds": side.median, "tokens_per_second": self.tokens_per_second(side),
                "flops_per_second": self.rate(side), "utilisation": self.utilisation(side),
                "cllm_is_times_as_fast": self.ratio(side), "least_ratio": least, "largest_ratio": most,
                "busy_ratio": self.busy_ratio(side),
            }
        return whole
