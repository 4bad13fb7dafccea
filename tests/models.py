"""Small models, batches and reducers for tests."""

from __future__ import annotations

from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cllm import kernels
from cllm.lockstep import can_go_in_lockstep, is_compiled_fold
from cllm.models import gpt2, llama
from cllm.program import Mode, Program

CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropout": 0.2, "activation": "gelu"},
    "odd": {"n_embd": 39, "n_head": 3, "block_size": 61, "vocab_size": 97, "bias": False},
    "bf16": {"dtype": "bfloat16", "activation": "gelu"},
    "capped": {"logit_softcap": 1.5},
    "llama": {"family": "llama", "n_kv_head": 1},
    "llama_bf16": {
        "family": "llama", "dtype": "bfloat16", "n_embd": 24, "n_head": 4, "n_kv_head": 2, "qk_norm": True,
        "tie_embeddings": True, "dropout": 0.1,
    },
}


def shape(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "vocab_size": 37, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 20, "dropout": 0.0, "bias": True,
        "activation": "gelu_tanh", "layernorm_epsilon": 1e-5, "dtype": "float32", "logit_softcap": 0.0,
        "family": "gpt2", "n_kv_head": 2,
        "n_inner": 33, "rope_theta": 10000.0, "rmsnorm_epsilon": 1e-6, "qk_norm": False, "tie_embeddings": False,
    }
    return SimpleNamespace(**{**values, **changes})


def build(shape: Any, mode: Mode) -> Program:
    return {"gpt2": gpt2, "llama": llama}[shape.family].build(shape, mode)


def a_model(name: str, **changes: Any) -> tuple[Program, np.ndarray]:
    """A training Program and float32 parameters, large enough that every gradient is far from 0."""
    program = build(shape(**{**CONFIGS[name], **changes}), "train")
    parameters = np.zeros(program.n_parameters, dtype=np.float32)
    for parameter in program.parameters:
        kernels.normal(parameters[parameter.offset :][: parameter.size], 0.1, 11, parameter.name)
        parameters[parameter.offset :][: parameter.size] += np.float32(parameter.mean)
    return program, parameters


def a_batch(program: Program, batch_size: int, index: int = 3) -> Any:
    """Tokens that depend on integers alone, with a few targets that are not counted."""
    n = batch_size * (program.block_size + 1)
    tokens = (np.arange(n, dtype=np.int64) * 7919 + index * 104729) % 1000003 % program.vocab_size
    windows = tokens.astype(np.int32).reshape(batch_size, -1)
    targets = windows[:, 1:].copy()
    targets[0, :3] = -1
    weights = np.ones(targets.shape, dtype=np.float32)
    weights[:, ::3] = 0.5
    inputs = np.ascontiguousarray(windows[:, :-1])
    return SimpleNamespace(index=index, inputs=inputs, targets=targets, weights=weights, positions=None)


def digest(array: np.ndarray) -> str:
    return blake2b(array.tobytes(), digest_size=16).hexdigest()


def always_in_lockstep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of small models, too, run their shards in lockstep, in one team of all threads."""

    def goes(program: Program, teams: Any, n_shards: int, arena: int, reducer: Any) -> bool:
        wanted = program.mode == "train" and n_shards > 1
        return wanted and can_go_in_lockstep(program) and (reducer is None or is_compiled_fold(reducer))

    monkeypatch.setattr("cllm.teams.LARGE_GRADIENT", 0)
    monkeypatch.setattr("cllm.engine.goes_in_lockstep", goes)
    monkeypatch.setattr("cllm.memory.goes_in_lockstep", goes)


class Tree:
    kind = "fold"

    def merge(self, left: np.ndarray, right: np.ndarray) -> None:
        kernels.add(left, right)

    def finish(self, total: np.ndarray, n_shards: int) -> None:
        pass

    def __cllm_reducer__(self) -> object:
        return kernels.sum_reducer()


class FoldInPython:
    kind = "fold"

    def merge(self, left: np.ndarray, right: np.ndarray) -> None:
        kernels.add(left, right)

    def finish(self, total: np.ndarray, n_shards: int) -> None:
        pass


class Gather:
    kind = "gather"

    def __init__(self) -> None:
        self.shards: set[int] = set()

    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        self.shards.add(len(gradients))
        self.weights = weights.copy()
        kernels.ordered_sum(out, gradients)
