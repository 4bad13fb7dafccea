"""All ways in which threads share a step, for tests: how many, teams, lockstep, and how gradients are combined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cllm import kernels
from cllm.disorder import Executor
from cllm.engine import Engine
from cllm.program import Program
from tests.models import FoldInPython, Tree


class GatheredTree:
    """A gather reducer with the bits of the tree."""

    kind = "gather"

    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        rows, distance = gradients.copy(), 1
        while distance < len(rows):
            for left in range(0, len(rows) - distance, 2 * distance):
                kernels.add(rows[left], rows[left + distance])
            distance *= 2
        out[:] = rows[0]


TREE = Tree()


@dataclass(frozen=True)
class Way:
    n_threads: int
    threads_per_shard: int | None = None
    lockstep: bool = False
    reducer: Any = TREE

    def __str__(self) -> str:
        each = f", {self.threads_per_shard} a shard" if self.threads_per_shard else ""
        return f"{self.n_threads} threads{each}{', in lockstep' * self.lockstep}, {type(self.reducer).__name__}"

    def engine(self, program: Program, batch_size: int, executor: Executor = "fused", **options: Any) -> Engine:
        return Engine(
            program, batch_size, self.n_threads, threads_per_shard=self.threads_per_shard, lockstep=self.lockstep,
            executor=executor, seed=7, **options,
        )


ALONE = Way(1)
WAYS = (
    ALONE, Way(2, 1), Way(4, 1), Way(2, 2), Way(4, 2), Way(3, 3), Way(1, 1, lockstep=True), Way(2, 2, lockstep=True),
    Way(4, 4, lockstep=True), Way(3, 1, reducer=FoldInPython()), Way(4, 2, reducer=FoldInPython()),
    Way(3, 1, reducer=GatheredTree()), Way(4, 2, reducer=GatheredTree()),
)
