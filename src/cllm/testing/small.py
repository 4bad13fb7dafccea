"""A small model and batches for it: enough parameters for several pieces, enough sequences for several shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cllm import aligned, kernels
from cllm.config import ModelConfig
from cllm.models import gpt2
from cllm.program import Program

SHAPE = ModelConfig(
    family="gpt2", vocab_size=37, block_size=8, n_layer=2, n_head=2, n_embd=44, dropout=0.0, bias=True,
    activation="gelu_tanh", layernorm_epsilon=1e-5,
)


@dataclass(frozen=True)
class SmallBatch:
    """What the engine reads of a batch: arrays (B, T)."""

    index: int
    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]
    positions: NDArray[np.int32] | None = None


def small_model() -> tuple[Program, NDArray[np.float32]]:
    """A GPT-2 to train, and float32 parameters (P,) at which every gradient is far from 0."""
    program = gpt2.build(SHAPE, "train")
    parameters = aligned.zeros(program.n_parameters)
    for parameter in program.parameters:
        values = parameters[parameter.offset :][: parameter.size]
        kernels.normal(values, 0.1, 11, parameter.name)
        values += np.float32(parameter.mean)
    return program, parameters


def small_batch(program: Program, batch_size: int) -> SmallBatch:
    """Tokens that depend on integers alone; some targets are not counted, some tokens weigh half."""
    n = batch_size * (program.block_size + 1)
    tokens = (np.arange(n, dtype=np.int64) * 7919 + 104729) % 1000003 % program.vocab_size
    windows = tokens.astype(np.int32).reshape(batch_size, -1)
    targets = windows[:, 1:].copy()
    targets[0, :3] = -1
    weights = np.ones(targets.shape, dtype=np.float32)
    weights[:, ::3] = 0.5
    return SmallBatch(3, np.ascontiguousarray(windows[:, :-1]), targets, weights)
