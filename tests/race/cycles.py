"""Engines made, trained with and thrown away, one after the other, in a process that others want to starve.

    python -m tests.race.cycles N [--one-core]

Each has another number of threads, up to 64, shared among shards in another way. A cycle that takes longer than a
minute ends the process with the stacks of all threads on stderr; so does a wrong bit. Prints how many cycles were made.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from random import Random

PATIENCE = 60


def main(n_cycles: int, one_core: bool) -> None:
    if one_core:  # before OpenMP counts the cores
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import numpy as np

    from cllm import kernels
    from cllm.engine import Engine
    from tests.models import FoldInPython, Tree, a_batch, a_model, digest

    def cycle(n_threads: int, each: int | None, lockstep: bool, reducer: object) -> str:
        """Two steps of AdamW."""
        engine = Engine(program, 4, n_threads, micro_batch_size=1, threads_per_shard=each, lockstep=lockstep)
        moving, moments = parameters.copy(), np.zeros((2, len(parameters)), dtype=np.float32)
        for _ in range(2):
            found = engine.gradient(moving, batch, reducer)  # type: ignore[arg-type]
            kernels.adamw(
                moving, found.gradient, *moments, runs, learning_rate=1e-3, betas=(0.9, 0.95), epsilon=1e-8,
                corrections=(0.1, 0.05), gradient_scale=1.0, n_threads=n_threads,
            )
        return digest(moving)

    program, parameters = a_model("plain", n_layer=1, block_size=8, n_embd=8)
    batch, runs, random = a_batch(program, 4), kernels.segments(program.parameters, 0.1), Random(5)
    expected = cycle(1, None, False, Tree())
    for _ in range(n_cycles):
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        n_threads, each = random.choice((1, 2, 3, 4, 8, 16, 64)), random.choice((None, None, None, 1, 2, 3))
        lockstep = n_threads in (2, 3, 4) and random.random() < 0.3
        way = (n_threads, n_threads if lockstep else each, lockstep, random.choice((Tree(), FoldInPython())))
        if lockstep:
            way = (*way[:3], Tree())
        if cycle(*way) != expected:
            faulthandler.dump_traceback()
            sys.exit(f"other bits with {way}")
        gc.collect(0)
    faulthandler.cancel_dump_traceback_later()
    print(n_cycles)


if __name__ == "__main__":
    main(int(sys.argv[1]), "--one-core" in sys.argv)
