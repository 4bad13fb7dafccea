"""What CLLM_DEBUG shows of a step, on stderr: 1 phase times, 2 norms, 3 every op held against the reference."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cllm.binding import Batch
from cllm.outcomes import Gradient
from cllm.program import Program
from cllm.stepping import Stepper, compare


@dataclass
class Debug:
    """Made where the level is above 0; otherwise the loop has None and pays nothing."""

    level: int
    program: Program
    stepper: Stepper | None

    @classmethod
    def of(
        cls, level: int, program: Program, batch_size: int, micro_batch_size: int | None, seed: int
    ) -> Debug | None:
        if level == 0:
            return None
        stepper = Stepper(program, batch_size, micro_batch_size, seed) if level >= 3 else None
        return cls(level, program, stepper)

    def show(
        self, parameters: NDArray[np.float32], batch: Batch, gradient: Gradient, norm: Callable[[str], float],
        busy: Sequence[float],
    ) -> None:
        """Before the update of a step. Raises KernelError at level 3 where an op differs from its definition.

        busy: seconds of work of each thread so far.
        """
        work = " + ".join(f"{seconds * 1e3:.2f}" for seconds in busy)
        times = f"shards {gradient.shard_seconds * 1e3:.2f} ms, busy {work} ms"
        print(f"debug: batch {batch.index}: {times}", file=sys.stderr)
        if self.level >= 2:
            for parameter in self.program.parameters:
                if parameter.trainable:
                    print(f"debug:   |d {parameter.name}| = {norm(parameter.name):.6g}", file=sys.stderr)
        if self.stepper is not None:
            n = compare(self.stepper, parameters, batch)
            print(f"debug:   {n} tensors agree with the reference", file=sys.stderr)
