"""In which order threads and shards come, where a run asks for another than the usual: drawn anew for every call.

No bit may depend on it, so a run in disorder that ends in another digest has found a race. The draws have a generator
of their own and are no part of numerics.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import numpy as np

from cllm.errors import UsageError, did_you_mean
from cllm.kernels import at, executor
from cllm.workers import Workers

Executor = Literal["fused", "permuted", "adversarial"]
EXECUTORS: tuple[Executor, ...] = ("fused", "permuted", "adversarial")


def check_executor(name: str) -> None:
    """Raises UsageError for the name of no executor."""
    if name not in EXECUTORS:
        raise UsageError("engine", f"executor = {name!r}", ", ".join(EXECUTORS), did_you_mean(name, EXECUTORS))


def keeps_every_shard(name: str) -> bool:
    """Whether a fold has of every shard a gradient (P,), all merged at the end, so that any shard may come first."""
    return name == "permuted"


class Disorder:
    """Draws the order of each call: any, or, for "adversarial", from the last to the first with one slow thread."""

    def __init__(self, name: Executor, seed: int, n_threads: int, n_shards: int) -> None:
        self._permutes, self._random = name == "permuted", Random(seed)
        self._workers = np.zeros(n_threads, dtype=np.int32)  # whose part each thread computes
        self._turns = np.zeros(n_threads, dtype=np.int32)  # how many begin before each worker
        self._order = np.zeros(n_shards, dtype=np.int64)  # which shard comes in the place of each

    def draw(self, compiled: executor.Executor, workers: Workers, in_order: bool) -> None:
        """The order of the next call. in_order: its shards may not change places."""
        n = len(self._workers)
        self._workers[:] = self._mixed(range(n))
        self._turns[:] = self._mixed(range(n))
        for first, last in workers.runs():
            self._order[first:last] = self._mixed(range(first, last))
        workers.records["dice"] = [self._random.getrandbits(64) for _ in range(n)]
        slow = n if self._permutes else self._random.randrange(n)
        compiled.set_disorder(at(self._workers), at(self._turns), 0 if in_order else at(self._order), slow)

    def _mixed(self, things: range) -> list[int]:
        return self._random.sample(things, len(things)) if self._permutes else list(reversed(things))
