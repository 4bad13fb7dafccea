"""Faults on request, in checked builds: what CLLM_FAULT asks for, as an executor of a training Program takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import NDArray

from cllm import env, kernels
from cllm.errors import UsageError, did_you_mean
from cllm.plan import differentiable
from cllm.program import LOSSES, Op, Program

if TYPE_CHECKING:
    import numpy as np

    from cllm.env import Fault


def arm(executor: kernels.executor.Executor, program: Program, boundaries: NDArray[np.int64]) -> None:
    """Set the fault that was asked for, if there is one, and the Program trains.

    boundaries (S + 1,): first sequence of each shard. Raises UsageError for one that this Program or build cannot have.
    """
    fault = env.fault()
    if fault is None or program.mode != "train":
        return
    if not kernels.CHECKED:
        raise UsageError(
            "CLLM_FAULT", "a build that makes no faults", "a checked one",
            "pip install -Csetup-args=-Dchecked=true . or, to see one NaN, cllm train --inject-nan STEP",
        )
    index = _op_of(fault, program)
    if fault.shard >= len(boundaries) - 1:
        raise _refused(f"shard={fault.shard}", f"0 to {len(boundaries) - 2}")
    op = program.ops[index]
    tensor = _tensor_of(fault, op, program)
    is_gradient = fault.backward and tensor != LOSSES
    first, last = int(boundaries[fault.shard]), int(boundaries[fault.shard + 1])
    size = _size(op, tensor, program, (last - first) * program.block_size)
    if fault.element >= size:
        raise _refused(f"element={fault.element}", f"0 to {size - 1}")
    slot = op.slots.index(tensor)
    executor.inject(index, fault.backward, fault.step, first, is_gradient, slot, fault.element, fault.value)


def written(op: Op, program: Program, backward: bool) -> list[str]:
    """The names of what an op writes in a direction: values or, backward, gradients, the first being the usual one."""
    if not backward:
        return [] if op.kind.backward_does_forward else [name for name in (*op.outputs, *op.saved) if name is not None]
    names = [name for name in differentiable(op) if name in program.buffers]
    names += [name for name in op.parameters if name is not None and program.table[name].trainable]
    return names + ([LOSSES] if op.kind.backward_does_forward else [])


def _op_of(fault: Fault, program: Program) -> int:
    """The first op of that name or kind, in that layer if one is given."""
    for index, op in enumerate(program.ops):
        if fault.op in (op.name, op.kind.name) and fault.layer in (None, op.layer):
            return index
    names = sorted({op.kind.name for op in program.ops} | {op.name for op in program.ops})
    layer = "" if fault.layer is None else f",layer={fault.layer}"
    raise _refused(f"op={fault.op}{layer}", "an op of this model", did_you_mean(fault.op, names))


def _tensor_of(fault: Fault, op: Op, program: Program) -> str:
    names = written(op, program, fault.backward)
    if not names or fault.tensor not in (None, *names):
        direction = "backward" if fault.backward else "forward"
        raise _refused(f"tensor={fault.tensor} of {op.name} {direction}", f"one of {', '.join(names) or 'nothing'}")
    return fault.tensor or names[0]


def _size(op: Op, tensor: str, program: Program, rows: int) -> int:
    """Elements that may be written to, however the step is run."""
    if tensor in program.table:
        parameter = program.table[tensor]
        # In lockstep a tied embedding sees the rows alone that tokens name: of these there is at least one.
        return parameter.shape[-1] if op.kind.scatters else parameter.size
    return rows if tensor == LOSSES else program.buffers[tensor].size(rows)


def _refused(came: str, expected: str, todo: str = "correct it, or `unset CLLM_FAULT`") -> UsageError:
    return UsageError("CLLM_FAULT", came, expected, todo)
