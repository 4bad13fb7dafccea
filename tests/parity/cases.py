"""The models and batches that cllm and PyTorch are compared on: a table, so that both sides make the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cllm import kernels
from cllm.program import Program
from tests.models import build, shape

FIXTURES = Path(__file__).parent / "fixtures.safetensors"
BATCH_SIZE = 5
Arrays = dict[str, np.ndarray]

# B, T and the head size odd. 5 x 13 = 65 tokens in one shard are one more than the loss's chunk of 64, and 71 is more
# than a block of the attention: what happens at their edges is compared too.
SMALL: dict[str, Any] = {"vocab_size": 31, "block_size": 13, "n_layer": 2, "n_head": 3, "n_embd": 15}
CASES: dict[str, dict[str, Any]] = {
    "gelu_tanh": {**SMALL, "activation": "gelu_tanh"},
    "gelu": {**SMALL, "activation": "gelu"},
    "gelu_tanh_no_bias": {**SMALL, "activation": "gelu_tanh", "bias": False},
    "gelu_no_bias": {**SMALL, "activation": "gelu", "bias": False},
    "llama": {**SMALL, "family": "llama", "n_embd": 18, "n_kv_head": 1, "n_inner": 20, "rope_theta": 100.0},
    "llama_qk_norm": {
        **SMALL, "family": "llama", "n_head": 4, "n_embd": 24, "n_kv_head": 2, "n_inner": 31, "qk_norm": True,
        "tie_embeddings": True,
    },
    "long": {"vocab_size": 131, "block_size": 71, "n_layer": 1, "n_head": 2, "n_embd": 26},
}


def program(name: str, mode: Any = "train", **changes: Any) -> Program:
    return build(shape(**{**CASES[name], **changes}), mode)


def parameters(name: str) -> Arrays:
    """float32 tensors by name; five times as large as at a training's start, so that no gradient is near 0."""
    tensors: Arrays = {}
    for parameter in program(name).parameters:
        tensor = np.empty(parameter.shape, dtype=np.float32)
        kernels.normal(tensor, 0.1, 29, parameter.name)
        tensors[parameter.name] = tensor + np.float32(parameter.mean)
    return tensors


def batch(name: str) -> Arrays:
    """inputs, targets (B, T) int32 and weights (B, T) float32; two tokens are not counted, others count less."""
    block_size, vocab_size = CASES[name]["block_size"], CASES[name]["vocab_size"]
    place = np.arange(BATCH_SIZE * (block_size + 1), dtype=np.int64)
    windows = (place * 7919 + place * place % 104729).reshape(BATCH_SIZE, -1) % vocab_size
    targets = windows[:, 1:].astype(np.int32)
    targets[0, :2] = -1
    weights = np.ones(targets.shape, dtype=np.float32)
    weights[1:3, ::4] = 0.25
    return {"inputs": windows[:, :-1].astype(np.int32), "targets": targets, "weights": weights}


def part(tensors: Arrays, prefix: str) -> Arrays:
    """The tensors whose names begin with `prefix`/, without it."""
    return {n.removeprefix(f"{prefix}/"): t for n, t in tensors.items() if n.startswith(f"{prefix}/")}
