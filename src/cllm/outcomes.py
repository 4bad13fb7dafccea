"""What a step of the engine comes to: a gradient, or why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from cllm.errors import DataError, KernelError
from cllm.opened import OpenedReducer
from cllm.program import Program

Float32 = NDArray[np.float32]
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

DONE, BAD_TOKEN, STOPPED, REFUSED = 0, 1, 2, 4  # statuses of op.h


@dataclass(frozen=True)
class Gradient:
    """The outcome of one batch. `gradient` is the engine's own memory, valid until its next call."""

    gradient: Float32  # (P,) of the mean loss a token weight
    norm: float  # Euclidean; not finite if any element is not
    loss: float  # mean
    weight_sum: float
    shard_losses: tuple[float, ...]  # means, by shard; 0.0 for one without counted tokens or left out
    shard_weights: tuple[float, ...]  # sums of token weights
    shard_seconds: float  # wall time of packing, of the shards and of combining them


class Interrupted(BaseException):
    """A step was left half-way because somebody asked for it; nothing of it remains."""


class ReducerFailed(Exception):
    """A step was left half-way because the reducer raised what is the cause of this; nothing of it remains."""


# What all ranks raise where one does, by the name that it is told by.
ENDINGS = {"stopped": Interrupted, "reducer": ReducerFailed}


def refuse_status(status: int, who: str, program: Program) -> None:
    """Raise what a kernel's status stands for, unless it is DONE."""
    if status == STOPPED:
        raise Interrupted
    if status == BAD_TOKEN:
        raise DataError(
            who, f"a token outside 0 .. {program.vocab_size - 1}", "ids of the model's vocabulary",
            "use the tokenizer that the model was trained with",
        )
    if status != DONE:
        raise KernelError(who, f"status {status} of a kernel", "one of op.h", "correct the kernel")


def called(method: Callable[Arguments, Answer], *arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
    """What a reducer's method returns; what it raises is its own failure, whoever it has called."""
    try:
        return method(*arguments, **named)
    except Exception as error:
        raise ReducerFailed(f"{type(error).__name__}: {error}") from error


def merge_slice(reducer: Any, left: Float32, right: Float32, first: int) -> None:
    """A slice of the parameters, whose place compiled code wants to know."""
    place = {"first": first} if isinstance(reducer, OpenedReducer) else {}
    called(reducer.merge, left, right, **place)
