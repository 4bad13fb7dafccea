"""What cllm tells plugins: frozen values of plain numbers, which can be read and kept but change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RunInfo:
    """A run that begins or ends."""

    name: str
    folder: Path
    step: int  # updates done so far: 0 for a fresh run, more for one that resumes
    n_steps: int  # updates that the run shall make in all
    config: Mapping[str, Any]  # the resolved config, as in config.toml


@dataclass(frozen=True)
class Past:
    """One of the recent updates of a run."""

    step: int  # updates done with it
    loss: float
    gradient_norm: float  # before clipping
    learning_rate: float  # as used


@dataclass(frozen=True)
class Magnitude:
    """How large the elements of a gradient are."""

    norm: float  # Euclidean
    largest: float  # magnitude of an element; NaN where one is
    n_nonfinite: int  # elements that are NaN or infinite


def _unknown(name: str) -> Magnitude:
    raise KeyError(name)


def _no_gradient(check: object) -> tuple[float, ...]:
    raise KeyError("a view without its gradient")


@dataclass(frozen=True)
class ShardView:
    """One shard's part of a step, after its backward."""

    shard: int  # its id, from 0 on
    n_shards: int
    step: int  # updates done before this one
    batch_index: int  # batches consumed before this one
    loss: float  # mean over the shard's token weights
    weight_sum: float
    gradient: Callable[[], Magnitude]  # of the sum of its token losses; computes the shard once more when asked for


@dataclass(frozen=True)
class GradientView:
    """The reduced gradient of one step as a check sees it: scalars only, before any update.

    The gradient is that of the token mean; norms are Euclidean. NaN and Inf come through as they are.
    """

    step: int  # updates done before this one
    batch_index: int  # batches consumed before this one
    loss: float  # mean over the batch's token weights
    gradient_norm: float  # of all parameters together, before any clipping
    finite: bool  # whether loss and every element of the gradient are finite
    learning_rate: float  # what the update would use: base times schedule
    shard_losses: tuple[float, ...]  # mean loss of each shard, by shard id; 0.0 for one that is left out
    weight_sum: float  # sum of token weights: the number of counted tokens unless the data weighs them
    parameter_norm: Callable[[str], float]  # gradient norm of one parameter by name, computed when asked for
    magnitude: Callable[[str], Magnitude] = _unknown  # the same with the largest element and those not finite
    parameters: tuple[str, ...] = ()  # names of those that are trained
    matrices: tuple[str, ...] = ()  # of these, those with two axes or more: no biases, no norms
    history: Sequence[Past] = ()  # the last updates, at most 256, oldest first
    dropped: frozenset[int] = frozenset()  # shards that are left out of this step already
    shards: Callable[[], Sequence[ShardView]] = tuple  # those that are not left out
    snapshots: Callable[[], tuple[int, ...]] = tuple  # steps to whose states a Rewind can go, oldest first
    scan: Callable[[Any], tuple[float, ...]] = _no_gradient  # for cllm itself: a compiled check over the gradient


@dataclass(frozen=True)
class UpdateView:
    """An update that is about to be made, after all checks have let the gradient pass."""

    gradient: GradientView
    clip: float  # the factor on the gradient
    learning_rate: float  # as it will be used, unless a check lowers it now
    measure: Callable[[], None]  # ask for the `update_ratio` of this update: two passes over the parameters and a copy


@dataclass(frozen=True)
class Spoilt:
    """The first element of the parameters, in the order of their names, that an update has made NaN or infinite."""

    parameter: str
    index: tuple[int, ...]
    value: float
    gradient: float  # there, before clipping


@dataclass(frozen=True)
class UpdatedView:
    """An update that has been made."""

    update: UpdateView
    learning_rate: float  # as used
    finite: bool  # whether every parameter is
    spoilt: Spoilt | None  # where one is not
    update_ratio: Callable[[str], float | None]  # norm of the change over that before; None: not measured, or from 0


@dataclass(frozen=True, eq=False)
class BatchView:
    """The batch that an update was made of: B sequences of T tokens, in arrays that cannot be written to."""

    step: int  # updates done, this one included
    batch_index: int
    inputs: NDArray[np.int32]  # (B, T) token ids, 0 where there is padding
    targets: NDArray[np.int32]  # (B, T), the tokens that follow; -1: not counted
    weights: NDArray[np.float32]  # (B, T), of the targets, 0 where not counted


@dataclass(frozen=True)
class StepReport:
    """One step, after its update or after the decision against it."""

    step: int  # updates done, this one included
    n_steps: int  # updates that the run shall make in all
    batch_index: int  # the batch that this step read
    loss: float  # mean over the batch's token weights
    validation_loss: float | None  # None where this step was not evaluated
    gradient_norm: float  # before clipping
    learning_rate: float  # as used: base, schedule and checks multiplied
    clip: float  # the factor on the gradient, 1.0 where it was left alone
    n_tokens: int  # tokens in the batch
    seconds: float  # wall time of the step
    tokens_per_second: float  # over the last steps
    useful_cpu: float  # 0 to 1: the time that threads computed (not waited) over threads times wall time
    load_balance: float  # 0 to 1: the mean thread's computing time over the busiest one's
    serial_share: float  # 0 to 1: of the wall time, what passed outside parallel regions
    parallel_efficiency: float  # 0 to 1: serial and all threads' computing time over threads times wall time
    eta_seconds: float | None  # to the end of the run, None before there is an estimate
    decision: str  # "step", "drop" (an update without some shards), "skip", "rewind" or "abort"
    reasons: tuple[str, ...]  # why, each with the label of its check
    digest: str | None  # of parameters, optimizer and cursor; None where this step has none
    dropped: tuple[int, ...] = ()  # shards that were left out
    evaluations: Mapping[str, float] = field(default_factory=dict)  # losses over [data.evaluate], by name
    sample: str | None = None  # what the model wrote after the evaluation, the prompt left out
    metrics: Mapping[str, float] = field(default_factory=dict)  # of [metrics], by label, at steps that are logged
