"""Computes a step again, by the engine and op by op, and says whether that gave the bits that the step had given.

The same bits mean that data or numerics are the cause of whatever is wrong with them, for both would do it again.
Other bits mean a race, memory or hardware.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cllm.binding import Batch
from cllm.digest import DIGEST_BYTES, raw_bytes
from cllm.engine import Engine
from cllm.floats import standard_floats
from cllm.outcomes import Gradient
from cllm.probing import Walk, walk
from cllm.stepping import Stepper

if TYPE_CHECKING:
    from cllm.hooks.protocols import Reducer

SAME, OTHER = "data or numerics", "a race, memory or hardware"
PIECE = 1 << 20  # elements that are hashed at a time
# Of what is not finite no bits are promised (numerics rule 10): all of it counts as this.
NOT_FINITE = "not finite"


@dataclass(frozen=True)
class Seen:
    """What one computation of a batch gave, such that another can be compared with it to the bit."""

    loss: str  # in hexadecimal, or NOT_FINITE
    shard_losses: tuple[str, ...]
    gradient: str | None  # digest; None where nobody computed it
    n_nonfinite: int  # elements of the gradient

    @classmethod
    def of(cls, loss: float, shard_losses: tuple[float, ...], gradient: NDArray[np.float32] | None) -> Seen:
        digest, n_nonfinite = (None, 0) if gradient is None else gradient_digest(gradient)
        return cls(bits(loss), tuple(map(bits, shard_losses)), digest, n_nonfinite)

    @classmethod
    def of_engine(cls, found: Gradient) -> Seen:
        return cls.of(found.loss, found.shard_losses, found.gradient)

    @classmethod
    def of_walk(cls, found: Walk, without: Collection[int]) -> Seen:
        """As the engine tells it, whose loss of a shard that is left out is 0."""
        losses = tuple(0.0 if shard in without else loss for shard, loss in enumerate(found.shard_losses))
        return cls.of(found.loss, losses, found.gradient)


@dataclass(frozen=True)
class Findings:
    """A step computed again: what was found on the way, and where it differs from what the run saw."""

    walk: Walk
    engine: tuple[str, ...]  # what the engine, on its threads, gave otherwise
    stepwise: tuple[str, ...]  # what one thread gave otherwise, op by op

    @property
    def differs(self) -> bool:
        return bool(self.engine or self.stepwise)

    @property
    def cause(self) -> str:
        return OTHER if self.differs else SAME


@standard_floats()
def compute_again(
    engine: Engine, parameters: NDArray[np.float32], batch: Batch, reducer: Reducer, seen: Seen,
    without: Collection[int], micro_batch_size: int | None,
) -> Findings:
    """The batch once more, by `engine` and then op by op, beside what was `seen` of it `without` some shards.

    Raises Interrupted after a stop of the engine, and MemoryLimitError where a step op by op is too much for this
    machine.
    """
    again = Seen.of_engine(engine.gradient(parameters, batch, reducer, without))
    stepper = Stepper(engine.program, len(batch.inputs), micro_batch_size, engine.seed)
    found = walk(stepper, parameters, batch, reducer, lambda: engine.is_stopping, without)
    return Findings(found, differences(seen, again), differences(seen, Seen.of_walk(found, without)))


def differences(one: Seen, other: Seen) -> tuple[str, ...]:
    """What has other bits; what only one of them has computed is not compared."""
    found = ["loss"] if one.loss != other.loss else []
    pairs = zip(one.shard_losses, other.shard_losses, strict=True)
    found += [f"loss of shard {shard}" for shard, (a, b) in enumerate(pairs) if a != b]
    if None not in (one.gradient, other.gradient) and one.gradient != other.gradient:
        found.append("gradient")
    return tuple(found)


def gradient_digest(gradient: NDArray[np.float32]) -> tuple[str, int]:
    """The digest of gradient (P,), all that is not finite counting as one NaN, and how many elements that are."""
    digest, n_nonfinite = hashlib.blake2b(digest_size=DIGEST_BYTES), 0
    for begin in range(0, gradient.size, PIECE):
        piece = gradient[begin : begin + PIECE]
        finite = np.isfinite(piece)
        n_nonfinite += piece.size - int(np.count_nonzero(finite))
        digest.update(raw_bytes(np.where(finite, piece, np.float32(np.nan))))
    return digest.hexdigest(), n_nonfinite


def bits(number: float) -> str:
    """A float64 without loss, or NOT_FINITE."""
    return number.hex() if number - number == 0.0 else NOT_FINITE
