"""A batch, as the engine and whoever walks a Program hand it to an executor: by address, looked at before."""

from __future__ import annotations

from typing import Protocol

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


class Binding:
    """Makes an executor compute one batch after the other; what it reads and writes stays alive until the next one."""

    inputs: NDArray[np.int32]  # of the batch

    def __init__(
        self, executor: kernels.executor.Executor, block_size: int, seed: int, losses: Float32,
        boundaries: NDArray[np.int64], shard_loss: Float64, shard_weight: Float64, first: int = 0,
    ) -> None:
        """boundaries: (S + 1,) first sequence of each shard. losses, shard_loss, shard_weight (S,): OUT of the calls.

        first: the shard that the executor counts as its 0th.
        """
        self._executor, self._block_size, self._seed = executor, block_size, seed
        self._batch_size = int(boundaries[-1])
        self._found = losses, boundaries[first:], shard_loss[first:], shard_weight[first:]
        at_losses, at_boundaries, at_loss, at_weight = map(at, self._found)
        self._found_at = at_losses, at_boundaries, at_loss, at_weight, len(shard_loss) - first

    def __call__(self, batch: Batch) -> None:
        """The next calls of the executor compute this batch. Raises KernelError."""
        refuse_shape(batch, self._batch_size, self._block_size)
        address, positions = kernels.address, batch.positions
        self._executor.set_batch(
            address(batch.inputs, np.int32), address(batch.targets, np.int32), address(batch.weights),
            *self._found_at, batch.inputs.shape[1], 0, batch.index, self._seed,
            0 if positions is None else address(positions, np.int32),
        )
        self.inputs, self._others = batch.inputs, (batch.targets, batch.weights, positions)


def refuse_shape(batch: Batch, batch_size: int, block_size: int) -> None:
    """Raise KernelError unless the batch's arrays are (batch_size, T) with a T that the Program has room for."""
    shape, expected = batch.inputs.shape, (batch_size, block_size)
    is_right = len(shape) == 2 and shape[0] == batch_size and 1 <= shape[1] <= block_size
    others = (batch.targets, batch.weights, batch.positions)
    if not is_right or any(array is not None and array.shape != shape for array in others):
        shapes = ", ".join(str(array.shape) for array in (batch.inputs, *others) if array is not None)
        raise KernelError("engine", f"a batch {shapes}", f"{expected}", "match batch_size and block_size")
