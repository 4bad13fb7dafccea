"""The stepping executor: one op of one shard at a time, every buffer with memory of its own, a look after each.

It gives the bits of the fused executor and serves to see where they come from. Not for training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, faults, kernels
from cllm.binding import Batch, Binding
from cllm.bounded import check_memory
from cllm.errors import KernelError
from cllm.lowering import WORKER, lower
from cllm.outcomes import REFUSED, refuse_status
from cllm.program import LOSSES, Program
from cllm.reduction import shard_boundaries
from cllm.reference import Reference

Float32 = NDArray[np.float32]

# Norm of the difference over norm, from which a buffer counts as different from its float64 definition: float32
# keeps 6e-8, and what earlier ops rounded adds up over a deep model.
TOLERANCE = 1e-3
# What lies between two bfloat16 is rounded to either, and from then on all that follows differs by as much.
BF16_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Probe:
    """What one op of one shard has just written: values after its forward, gradients after its backward."""

    shard: int
    op: int
    backward: bool
    written: dict[str, NDArray[Any]]  # views: look before the next probe


class Stepper:
    """Walks a training Program over one batch."""

    def __init__(self, program: Program, batch_size: int, micro_batch_size: int | None = None, seed: int = 0) -> None:
        self.program, self.seed = program, seed
        self.boundaries = np.array(shard_boundaries(batch_size, program.block_size, micro_batch_size), dtype=np.int64)
        rows = int(np.diff(self.boundaries).max()) * program.block_size
        self._lowered = lower(program, rows, program.block_size, share=False)
        sizes = self._lowered.sizes
        memory = {"buffers": sizes.arena, "panels": sizes.packed + sizes.scratch, "gradient": program.n_trainable}
        check_memory({name: 4 * n for name, n in memory.items()}, "a step op by op, every buffer by itself")
        self._arena = aligned.zeros(self._lowered.plan.size)
        self._scratch = aligned.zeros(self._lowered.scratch_size)
        self._packed = aligned.zeros(self._lowered.packed_size)
        self._losses = np.zeros((batch_size, program.block_size), dtype=np.float32)  # its beginning, of shorter rows
        self._time = program.block_size  # of the batch
        self._sums = np.zeros((2, len(self.boundaries) - 1))
        self._workers = np.zeros(1, dtype=WORKER)
        self._workers["n_members"] = 1
        self._workers["arena"], self._workers["scratch"] = self._arena.ctypes.data, self._scratch.ctypes.data
        self.gradient = aligned.zeros(program.n_trainable)  # of the shard that was walked last
        self._executor = kernels.executor.Executor(
            self._lowered.ops.ctypes.data, len(program.ops), self._lowered.packings.ctypes.data,
            len(self._lowered.packings), self._workers.ctypes.data, 1, program.n_trainable, self._packed.ctypes.data,
        )
        self._binding = Binding(
            self._executor, program.block_size, seed, self._losses, self.boundaries, *self._sums
        )
        faults.arm(self._executor, program, self.boundaries)

    def walk(self, parameters: Float32, batch: Batch) -> Iterator[Probe]:
        """All shards, each forward and backward, a probe after every op."""
        self.begin(parameters, batch)
        for shard in range(self.n_shards):
            yield from self.walk_shard(shard)

    @property
    def n_shards(self) -> int:
        return len(self.boundaries) - 1

    def begin(self, parameters: Float32, batch: Batch) -> None:
        """Make ready for the shards of this batch; both arguments stay as they are until the last has been walked."""
        self._time = batch.inputs.shape[1]
        self._binding(batch)
        self._executor.pack(kernels.address(parameters))

    def walk_shard(self, shard: int) -> Iterator[Probe]:
        """One shard forward and backward; afterwards `gradient` is that of the sum of its token losses."""
        n_ops = len(self.program.ops)
        for op, backward in [(i, False) for i in range(n_ops)] + [(i, True) for i in reversed(range(n_ops))]:
            status = self._executor.run_one(op, backward, shard, self.gradient.ctypes.data, 1)
            if status == REFUSED:
                raise self._lowered.refusal(op, self._executor.refused)
            refuse_status(status, f"stepping, {self.program.ops[op].name}", self.program)
            yield Probe(shard, op, backward, self._written(shard, op, backward))
        self._executor.sum_up(shard)

    @property
    def shard_sums(self) -> tuple[list[float], list[float]]:
        """Of each shard that has been walked, the sum of its weighted token losses and of its token weights."""
        return self._sums[0].tolist(), self._sums[1].tolist()

    def value(self, name: str, shard: int) -> Float32 | None:
        """The buffer (rows, width) as it is now, or the losses; None for what is no float32."""
        if name == LOSSES:
            return self._losses_of(shard).reshape(-1, 1)
        return self._view(self._lowered.plan.values, name, self._rows(shard)) if name in self.program.buffers else None

    def gradient_of(self, name: str, shard: int) -> Float32 | None:
        """The gradient of a buffer (rows, width) as it is now; None where nobody wants it."""
        plan = self._lowered.plan.gradients
        return self._view(plan, name, self._rows(shard)) if name in plan else None

    def _written(self, shard: int, index: int, backward: bool) -> dict[str, NDArray[Any]]:
        op, rows = self.program.ops[index], self._rows(shard)
        if not backward:
            names = () if op.kind.backward_does_forward else op.outputs
            return {name: self._view(self._lowered.plan.values, name, rows) for name in names}
        plan, views = self._lowered.plan.gradients, dict(self.program.views(self.gradient))
        written = {name: self._view(plan, name, rows) for name in op.inputs if name in plan}
        written.update({name: views[name] for name in op.parameters if name is not None and name in views})
        if op.kind.backward_does_forward:
            written[LOSSES] = self._losses_of(shard)
        return written

    def _losses_of(self, shard: int) -> Float32:
        first, last = self.boundaries[shard : shard + 2] * self._time
        return self._losses.reshape(-1)[first:last]

    def _rows(self, shard: int) -> int:
        return int(self.boundaries[shard + 1] - self.boundaries[shard]) * self._time

    def _view(self, plan: dict[str, int], name: str, rows: int) -> Float32:
        size = self.program.buffers[name].size(rows)
        return self._arena[plan[name] : plan[name] + size].reshape(rows, -1)


def compare(stepper: Stepper, parameters: Float32, batch: Batch) -> int:
    """Hold every op of one batch against the reference; returns how many tensors were compared.

    KernelError at the first that differs: op, direction, tensor and how far. This is CLLM_DEBUG=3.
    """
    program, bounds, n = stepper.program, stepper.boundaries, 0
    exact = {name: view.astype(np.float64) for name, view in program.views(parameters)}
    reference: Reference | None = None
    shard, tolerance = -1, BF16_TOLERANCE if any(op.kind.pairs for op in program.ops) else TOLERANCE
    for probe in stepper.walk(parameters, batch):
        if probe.shard != shard:
            shard = probe.shard
            part = slice(int(bounds[shard]), int(bounds[shard + 1]))
            reference = Reference(
                program, exact, batch.inputs[part], batch.targets[part], batch.weights[part],
                int(bounds[shard]), batch.index, stepper.seed,
                positions=None if batch.positions is None else batch.positions[part],
            )
        assert reference is not None
        (reference.backward if probe.backward else reference.forward)(probe.op)
        for name, computed in probe.written.items():
            known = reference.gradients if probe.backward and name != LOSSES else reference.values
            _refuse_difference(probe, program.ops[probe.op].name, name, computed, known[name], tolerance)
            n += 1
    return n


def _refuse_difference(
    probe: Probe, op: str, name: str, computed: NDArray[Any], exact: NDArray[Any], tolerance: float
) -> None:
    error = float(np.linalg.norm(computed.reshape(-1) - exact.reshape(-1)))
    scale = float(np.linalg.norm(exact))
    if not error <= tolerance * scale + 1e-12:
        direction = "backward" if probe.backward else "forward"
        raise KernelError(
            "CLLM_DEBUG=3", f"{op}, {direction}, shard {probe.shard}: {name} differs by {error:.3g} of {scale:.3g}",
            f"at most {tolerance:g} of it", "this op's kernel or reference is wrong, or the values are not finite",
        )
