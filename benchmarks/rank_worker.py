"""A side of benchmarks.ranks, on each of its ranks: `mpiexec -n R python -m benchmarks.rank_worker FOLDER --threads N`.

Rank 0 speaks as benchmarks.worker does. The others wait without computing: MPI's own waiting keeps a core busy.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np

from benchmarks.cllm_step import CllmStep
from benchmarks.worker import tell
from cllm.config import Part
from cllm.hooks.manager import build_manager
from cllm.hooks.protocols import Communicator
from cllm.outcomes import ENDINGS
from cllm.ranks import join
from cllm.ranks.meeting import slice_bounds

WORDS = b"w" * 300  # about what a rank says before gradients meet
N_LATENCIES, N_MOVES = 500, 9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    communicator = build_manager(["cllm_mpi"]).make("communicator", Part("mpi"))
    ranks = join(communicator, ENDINGS)
    step = CllmStep(arguments.folder, arguments.threads, ranks=ranks)
    found = measured(communicator, step.parameters.size)
    if ranks.leads:
        tell({"description": json.dumps({**found, "n_shards": step.engine.n_shards, "n": step.parameters.size})})
    done = 0
    while n := _next(communicator):
        busy, begin = process_time(), perf_counter()
        shards = []
        for index in range(n):
            step(done + index)
            shards.append(step.shard_seconds)  # packing, computing, merging: what is divided
        done += n
        seconds, busy = perf_counter() - begin, process_time() - busy
        busy = _total(busy)
        if ranks.leads:
            tell({"seconds": seconds, "busy": busy, "found": shards})


def measured(communicator: Communicator, n: int) -> dict[str, float]:
    """Seconds of a word, and of moving a gradient (n,): to the owners of its slices, and the slices to all."""
    if communicator.size == 1:
        return {"latency": 0.0, "moving": 0.0, "least_moving": 0.0}
    gradient, total = np.ones(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
    bounds = slice_bounds(n, communicator.size)
    width = bounds[communicator.rank + 1] - bounds[communicator.rank]
    slices = np.zeros((communicator.size, width), dtype=np.float32)
    moving = []
    for _ in range(N_MOVES):
        communicator.tell(b"")  # all begin together
        begin = perf_counter()
        communicator.exchange([gradient[first:last] for first, last in pairwise(bounds)], list(slices))
        communicator.gather(total, bounds)
        moving.append(perf_counter() - begin)
    words = []
    for _ in range(N_LATENCIES):
        begin = perf_counter()
        communicator.tell(WORDS)
        words.append(perf_counter() - begin)
    return {"latency": median(words), "moving": median(moving), "least_moving": min(moving)}


def _next(communicator: Communicator) -> int:
    """How many steps to make, 0 for no more: what rank 0 reads, on every rank."""
    from mpi4py import MPI

    world: Any = MPI.COMM_WORLD
    if communicator.rank == 0:
        n = int(sys.stdin.readline() or 0)
        for rank in range(1, communicator.size):
            world.send(n, rank)
        return n
    while not world.Iprobe(0):
        sleep(0.002)
    return int(world.recv(source=0))


def _total(busy: float) -> float:
    """Processor seconds of all ranks, so that none of them counts as another's process."""
    from mpi4py import MPI

    return float(MPI.COMM_WORLD.allreduce(busy))


if __name__ == "__main__":
    main()
