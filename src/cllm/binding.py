"""A batch, as the engine and whoever walks a Program hand it to an executor: by address, looked at before."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cllm import kernels
from cllm.errors import KernelError
from cllm.kernels import at

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class Batch(Protocol):
    """What the engine reads of a batch: arrays (B, T), where T is the block_size or, if all rows are shorter, less."""

    @property
    def index(self) -> int: ...
    @property
    def inputs(self) -> NDArray[np.int32]: ...
    @property
    def targets(self) -> NDArray[np.int32]: ...
    @property
    def weights(self) -> Float32: ...
    @property
    def positions(self) -> NDArray[np.int32] | None:
        """Of tokens in their documents, which do not see each other; None: each row is one."""


def bind(
    executor: kernels.executor.Executor, batch: Batch, block_size: int, seed: int, losses: Float32,
    boundaries: NDArray[np.int64], shard_loss: Float64, shard_weight: Float64, first: int = 0,
) -> tuple[Any, ...]:
    """Make an executor compute this batch in its next calls; returns the arrays, to be kept alive until then.

    boundaries (S + 1,) first sequence of each shard; losses, shard_loss (S,), shard_weight (S,) OUT of the calls.
    first: the shard that the executor counts as its 0th. Raises KernelError.
    """
    refuse_shape(batch, int(boundaries[-1]), block_size)
    positions = 0 if batch.positions is None else kernels.address(batch.positions, np.int32)
    executor.set_batch(
        kernels.address(batch.inputs, np.int32), kernels.address(batch.targets, np.int32),
        kernels.address(batch.weights), at(losses), at(boundaries[first:]), at(shard_loss[first:]),
        at(shard_weight[first:]), len(shard_loss) - first, batch.inputs.shape[1], 0, batch.index, seed, positions,
    )
    return batch.inputs, batch.targets, batch.weights, batch.positions


def refuse_shape(batch: Batch, batch_size: int, block_size: int) -> None:
    """Raise KernelError unless the batch's arrays are (batch_size, T) with a T that the Program has room for."""
    shape, expected = batch.inputs.shape, (batch_size, block_size)
    is_right = len(shape) == 2 and shape[0] == batch_size and 1 <= shape[1] <= block_size
    others = (batch.targets, batch.weights, batch.positions)
    if not is_right or any(array is not None and array.shape != shape for array in others):
        shapes = ", ".join(str(array.shape) for array in (batch.inputs, *others) if array is not None)
        raise KernelError("engine", f"a batch {shapes}", f"{expected}", "match batch_size and block_size")
