"""What a call of a generating side is and gives, and the folder of a run that both sides read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from benchmarks.task import Task

N_PROMPT = 16  # tokens


class Generated(TypedDict):
    """Of one call."""

    tokens: list[int]
    first: float  # seconds to the first token
    each: float  # seconds from a token to the next, on average
    whole: float  # seconds of the call
    logits: list[float]  # of the first call alone: the largest one after each token of a given block


def generated(tokens: list[int], times: Sequence[float], end: float, logits: list[float]) -> Generated:
    """times: when the call began, and when each token was there."""
    each = (times[-1] - times[1]) / (len(times) - 2)
    return {"tokens": tokens, "first": times[1] - times[0], "each": each, "whole": end - times[0], "logits": logits}


def run_of(folder: Path) -> Path:
    """cllm's run folder, whose parameters are the weights beside it."""
    return folder / "run"


def block_of(task: Task) -> NDArray[np.int32]:
    """A block of tokens (T,), the first N_PROMPT of which are the prompt."""
    return np.random.default_rng(7).integers(task.vocab_size, size=task.block_size, dtype=np.int32)
