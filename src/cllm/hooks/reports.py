"""What cllm tells plugins: frozen values of plain numbers, which can be read and kept but change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunInfo:
    """A run that begins or ends."""

    name: str
    folder: Path
    step: int  # updates done so far: 0 for a fresh run, more for one that resumes
    n_steps: int  # updates that the run shall make in all
    config: Mapping[str, Any]  # the resolved config, as in config.toml


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
    shard_losses: tuple[float, ...]  # mean loss of each shard, by shard id
    weight_sum: float  # sum of token weights: the number of counted tokens unless the data weighs them
    parameter_norm: Callable[[str], float]  # gradient norm of one parameter by name, computed when asked for


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
    decision: str  # "step", "skip" or "abort"
    reasons: tuple[str, ...]  # why, each with the label of its check
    digest: str | None  # of parameters, optimizer and cursor; None where this step has none
