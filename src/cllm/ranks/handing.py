"""The state of rank 0, handed to the other ranks: after a resume, or when a run goes back.

Rank 0 alone reads checkpoints. So the others need not see its disk, none can read another one than it, and a checkpoint
is read and verified once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm.ranks.agreement import Ranks
from cllm.state import Snapshot, TrainState, named_views

Array = NDArray[Any]


class Form(msgspec.Struct, frozen=True):
    """Of an array."""

    dtype: str
    shape: tuple[int, ...]
    n_bytes: int

    @classmethod
    def of(cls, array: Array) -> Form:
        return cls(array.dtype.str, array.shape, array.nbytes)


class Heading(msgspec.Struct, frozen=True):
    """A snapshot without its arrays."""

    step: int
    batch_index: int
    skipped: tuple[int, ...]
    scalars: dict[str, bool | int | float]  # of the optimizer
    arrays: dict[str, Form]  # of the optimizer
    checks: dict[str, dict[str, Any]]
    course: dict[str, Any]


def hand_over(ranks: Ranks, state: TrainState) -> None:
    """Every rank takes over the state of rank 0. Raises as Ranks.agree does."""
    if ranks.n_ranks == 1:
        return
    ranks.agree("handing over a state")
    given = state.snapshot() if ranks.leads else None
    with ranks.unbreakable():
        packed = ranks.communicator.tell(msgspec.msgpack.encode(_heading(given)) if given else b"")[0]
        heading = msgspec.msgpack.decode(packed, type=Heading)
        parameters = _passed_on(ranks, state.parameters, Form.of(state.parameters))
        optimizer: Mapping[str, Any] = given.optimizer if given else {}
        arrays = {name: _passed_on(ranks, optimizer.get(name), form) for name, form in heading.arrays.items()}
    if given is None:
        state.restore(Snapshot(
            heading.step, heading.batch_index, heading.skipped, named_views(state.table, parameters),
            {**arrays, **heading.scalars}, heading.checks, heading.course,
        ))


def _heading(given: Snapshot) -> Heading:
    arrays = {name: value for name, value in given.optimizer.items() if isinstance(value, np.ndarray)}
    return Heading(
        given.step, given.batch_index, given.skipped,
        {name: value for name, value in given.optimizer.items() if not isinstance(value, np.ndarray)},
        {name: Form.of(array) for name, array in arrays.items()},
        {label: dict(memory) for label, memory in given.checks.items()}, dict(given.course),
    )


def _passed_on(ranks: Ranks, array: Array | None, form: Form) -> Array:
    """Rank 0's array, of any dtype: its bytes go as float32, which is what a communicator moves."""
    moved = np.zeros(-(-form.n_bytes // 4), dtype=np.float32)
    there = moved.view(np.uint8)[: form.n_bytes]
    if ranks.leads and array is not None:
        there[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    ranks.communicator.gather(moved, [0, *[len(moved)] * ranks.n_ranks])
    return there.view(form.dtype).reshape(form.shape)
