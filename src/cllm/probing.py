"""Computes a batch op by op with a look at all that each op writes: how magnitudes grow, and what is not finite first.

It gives the engine's bits, and says of the first value that is NaN or infinite which op of which shard wrote it where,
and from what. Nothing here knows of runs or files: investigation.py does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cllm import kernels
from cllm.binding import Batch
from cllm.opened import as_python
from cllm.outcomes import Interrupted
from cllm.program import LOSSES
from cllm.reduction import chain, fold_present, mean_losses
from cllm.state import first_non_finite
from cllm.stepping import Probe, Stepper

if TYPE_CHECKING:
    from cllm.hooks.protocols import FoldReducer, Reducer

Float32 = NDArray[np.float32]
MOST_VALUES = 8  # of a row that are told one by one


@dataclass(frozen=True)
class Range:
    """The finite values of an array, and how many are not finite. All three are 0 where none is finite."""

    smallest: float
    largest: float
    magnitude: float  # the largest
    n_nonfinite: int
    size: int

    @classmethod
    def of(cls, array: NDArray[np.float32]) -> Range:
        finite = np.isfinite(array)
        n_finite = int(np.count_nonzero(finite))
        inside = array if n_finite == array.size else array[finite]
        smallest, largest = (float(inside.min()), float(inside.max())) if n_finite else (0.0, 0.0)
        return cls(smallest, largest, max(-smallest, largest, 0.0), array.size - n_finite, array.size)


@dataclass(frozen=True)
class Written:
    """What an op has written into one tensor: a value forward, a gradient backward."""

    op: int  # its place in the Program
    backward: bool
    tensor: str
    range: Range


@dataclass(frozen=True)
class Operand:
    """What an op had read when it wrote the first value that is not finite."""

    tensor: str
    role: str  # "input", "gradient of the output" or "parameter"
    range: Range  # of all of it
    row: Range | None  # of the token's row; None where there is none
    values: tuple[tuple[int, float], ...] = ()  # (channel, value) of the row's largest, those not finite before all


@dataclass(frozen=True)
class First:
    """The first value that is not finite: of the earliest op in any shard, and of these in the first shard."""

    shard: int
    op: int
    backward: bool
    tensor: str  # a buffer; or a parameter, whose gradient it is
    is_parameter: bool
    index: tuple[int, ...]  # of the element: (row, channel) of a buffer
    value: float
    row: int  # token of the shard: the element's own or, for a parameter's gradient, the one that counts most there
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class Walk:
    """What a batch gave, op by op."""

    first: First | None
    written: tuple[tuple[Written, ...], ...]  # by shard, in the order of the ops forward and then backward
    shard_losses: tuple[float, ...]  # means
    loss: float  # mean
    gradient: Float32 | None  # (P,) of the mean loss; None where the reducer wants all shards at once


def walk(
    stepper: Stepper, parameters: Float32, batch: Batch, reducer: Reducer, is_stopping: Callable[[], bool],
    without: Collection[int] = (),
) -> Walk:
    """All ops of all shards at `parameters` (P,); loss and gradient are those `without` some of them.

    Raises Interrupted between two ops once is_stopping says so.
    """
    stepper.begin(parameters, batch)
    prober = _Prober(stepper, parameters, is_stopping)
    present = [shard for shard in range(stepper.n_shards) if shard not in without]
    gradient = None
    if reducer.kind == "fold":
        gradient = _folded(as_python(reducer), present, prober.walk)
    for shard in range(stepper.n_shards):
        if shard not in prober.written:
            prober.walk(shard)
    losses, weights = stepper.shard_sums
    weight_sum = chain([weights[shard] for shard in present])
    if gradient is not None:
        kernels.scale(gradient, 1.0 / weight_sum)
    written = tuple(tuple(prober.written[shard]) for shard in range(stepper.n_shards))
    loss = chain([losses[shard] for shard in present]) / weight_sum
    return Walk(prober.first, written, mean_losses(losses, weights), loss, gradient)


def _folded(reducer: FoldReducer, present: Sequence[int], make: Callable[[int], Float32]) -> Float32:
    """The total of the shards' gradients along the tree (numerics rule 4)."""

    def merge(left: Float32, right: Float32) -> Float32:
        reducer.merge(left, right)
        return left

    total = fold_present(present, make, merge)
    reducer.finish(total, len(present))
    return total


class _Prober:
    """Walks shard after shard and looks at all that is written."""

    def __init__(self, stepper: Stepper, parameters: Float32, is_stopping: Callable[[], bool]) -> None:
        self._stepper, self._parameters, self._is_stopping = stepper, parameters, is_stopping
        self.first: First | None = None
        self.written: dict[int, list[Written]] = {}  # by shard

    def walk(self, shard: int) -> Float32:
        """One shard; returns its gradient (P,), a copy."""
        written = self.written[shard] = []
        for probe in self._stepper.walk_shard(shard):
            if self._is_stopping():
                raise Interrupted
            for tensor, array in _arrays(self._stepper, probe):
                seen = Written(probe.op, probe.backward, tensor, Range.of(array))
                written.append(seen)
                if seen.range.n_nonfinite and (self.first is None or _is_earlier(probe, self.first)):
                    self.first = _located(self._stepper, self._parameters, probe, tensor, array)
        return self._stepper.gradient.copy()


def _arrays(stepper: Stepper, probe: Probe) -> Iterator[tuple[str, Float32]]:
    """What the probe shows, losses before the gradients that follow from them; and what is kept for the backward."""
    for tensor in sorted(probe.written, key=lambda name: name != LOSSES):
        yield tensor, probe.written[tensor]
    op = stepper.program.ops[probe.op]
    if not probe.backward and not op.kind.backward_does_forward:
        for name in filter(None, op.saved):
            kept = stepper.value(name, probe.shard)
            if kept is not None:
                yield name, kept


def _is_earlier(probe: Probe, first: First) -> bool:
    """Whether its op's turn comes before. Shards know nothing of each other, so their order is none of causes."""
    turn, other = ((one.backward, -one.op if one.backward else one.op, one.shard) for one in (probe, first))
    return turn < other


def _located(stepper: Stepper, parameters: Float32, probe: Probe, tensor: str, array: Float32) -> First:
    """The first element that is not finite, in row-major order, and what the op had read for it."""
    place = first_non_finite(array)
    assert place is not None
    index = tuple(int(i) for i in np.unravel_index(place, array.shape))
    if tensor == LOSSES:
        index = (place, 0)
    is_parameter = tensor in stepper.program.table
    row = _heaviest_row(stepper, probe) if is_parameter else index[0]
    operands = tuple(_operands(stepper, parameters, probe, row))
    value = float(array.reshape(-1)[place])
    return First(probe.shard, probe.op, probe.backward, tensor, is_parameter, index, value, row, operands)


def _heaviest_row(stepper: Stepper, probe: Probe) -> int:
    """Of all tokens that a parameter's gradient is a sum over, the one with the largest incoming gradient, or loss."""
    name = stepper.program.ops[probe.op].outputs[0]
    array = stepper.value(LOSSES, probe.shard) if name == LOSSES else stepper.gradient_of(name, probe.shard)
    if array is None:
        return 0
    return int(np.argmax(_weights(array).max(axis=1)))


def _weights(array: Float32) -> Float32:
    """Magnitudes, of what is not finite infinity."""
    return np.where(np.isfinite(array), np.abs(array), np.float32(np.inf))


def _operands(stepper: Stepper, parameters: Float32, probe: Probe, row: int) -> Iterator[Operand]:
    op, views = stepper.program.ops[probe.op], dict(stepper.program.views(parameters))
    arrays = [(name, "input", stepper.value(name, probe.shard)) for name in op.inputs]
    if probe.backward:
        arrays += [(name, "gradient of the output", stepper.gradient_of(name, probe.shard)) for name in op.outputs]
    for name, role, array in arrays:
        if array is not None:
            yield Operand(name, role, Range.of(array), Range.of(array[row]), _largest(array[row]))
    for parameter in filter(None, op.parameters):
        yield Operand(parameter, "parameter", Range.of(views[parameter]), None)


def _largest(row: Float32) -> tuple[tuple[int, float], ...]:
    order = np.argsort(-_weights(row), kind="stable")[:MOST_VALUES]
    return tuple((int(channel), float(row[channel])) for channel in order)
