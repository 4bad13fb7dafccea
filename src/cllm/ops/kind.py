"""The record of an op: all that the rest of cllm knows of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """What a reference function may know besides its arrays: attributes, the shard's place, the random key."""

    attributes: Attributes
    time: int  # T; rows are (sequence, time)
    op: int = 0  # position in the Program
    sequence: int = 0  # number of the shard's first sequence in the batch
    batch: int = 0
    seed: int = 0
    positions: Array | None = None  # (rows,) of tokens in their documents, which do not see each other

    def __getitem__(self, name: str) -> Any:
        return self.attributes[name]

    def positions_of(self, n_rows: int) -> Array:
        """(rows,) of each token in its document, or in its sequence where documents are not told apart."""
        return np.arange(n_rows) % self.time if self.positions is None else self.positions


def no_flops(attributes: Attributes, time: int) -> float:
    """Next to nothing: element by element."""
    return 0.0


def no_scratch(attributes: Attributes, time: int) -> int:
    return 0


@dataclass(frozen=True)
class OpKind:
    """An op: how it is appended, what it means, and how the engine runs it.

    The reference works in float64 NumPy and is the definition:
    `forward(call, *inputs, *parameters)` returns outputs and saved buffers,
    `backward(call, gradients of the outputs, outputs and saved, *inputs, *parameters)` returns the gradients of
    inputs and parameters, None for what has none.
    """

    name: str
    build: Callable[..., str]  # (program, ...) -> name of the output
    forward: Callable[..., tuple[Array, ...]]
    backward: Callable[..., tuple[Array | None, ...]] | None
    sizes: tuple[str, ...] = ()  # the attributes that the kernel reads as integers, in its order
    numbers: tuple[str, ...] = ()  # and as float64
    reads: tuple[int, ...] = ()  # slots whose values the backward reads: they live until then
    constants: tuple[int, ...] = ()  # input slots that no gradient flows back to
    passes: tuple[int, ...] = ()  # input slots whose gradient is the output's, unchanged
    matrix: int | None = None  # slot of the parameter that is packed in panels
    depth_is_rows: bool = True  # the forward product's depth runs over the matrix's rows
    scatters: bool = False  # its gradient adds to the rows of its parameter that its tokens name, and to no others
    pairs: bool = False  # its panels are of pairs of bfloat16
    flops: Callable[[Attributes, int], float] = no_flops  # (attributes, time) -> of one token, forward
    scratch: Callable[[Attributes, int], int] = no_scratch  # (attributes, time) -> float32 elements a thread
    together: int = 0  # the most rows of several shards that its kernels compute at once; 0: one shard
    compiled: object | None = None  # of another package: what has __cllm_op__(); None: a kernel of cllm's own
    backward_does_forward: bool = False  # in training the forward kernel has nothing to do


def rows_to_sequences(x: Array, time: int) -> Array:
    """(rows, ...) as (B, T, ...)."""
    return x.reshape(-1, time, *x.shape[1:])


def panel_width(n: int) -> int:
    """n rounded up to a row of scratch: a multiple of every kernel's panel."""
    return (n + 31) // 32 * 32


