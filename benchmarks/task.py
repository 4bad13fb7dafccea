"""What is measured: the models' sizes, and a folder with the weights and batches that both sides start from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

N_BATCHES = 16  # used in turn
LEARNING_RATE, BETAS, EPSILON, WEIGHT_DECAY, MAX_NORM = 1e-3, (0.9, 0.99), 1e-8, 0.1, 1.0
LAYERNORM_EPSILON = 1e-5
TASK, WEIGHTS, BATCHES = "task.json", "weights.safetensors", "batches.safetensors"


@dataclass(frozen=True)
class Task:
    """A model as nanoGPT trains it on a CPU (no biases, exact gelu, no dropout) and its batch."""

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    batch_size: int

    @property
    def shape(self) -> SimpleNamespace:
        """What models/gpt2.py asks of a config."""
        return SimpleNamespace(
            **asdict(self), bias=False, activation="gelu", dropout=0.0, layernorm_epsilon=LAYERNORM_EPSILON
        )


TASKS = {
    "XS": Task(100, 32, 2, 4, 64, 8),
    "S": Task(65, 64, 4, 4, 128, 12),  # configs/shakespeare.toml
    "M": Task(256, 256, 6, 6, 384, 16),
}


def write(folder: Path, task: Task, weights: dict[str, NDArray[np.float32]]) -> None:
    """Weights under Hugging Face's names; batches of random tokens (N_BATCHES, B, T + 1), targets one further on."""
    (folder / TASK).write_text(json.dumps(asdict(task)))
    save_file(weights, folder / WEIGHTS)
    windows = (N_BATCHES, task.batch_size, task.block_size + 1)
    tokens = np.random.default_rng(5).integers(task.vocab_size, size=windows, dtype=np.int32)
    save_file({"tokens": tokens}, folder / BATCHES)


def read(folder: Path) -> tuple[Task, dict[str, NDArray[np.float32]], NDArray[np.int32]]:
    """What `write` wrote: task, weights by name, tokens (N_BATCHES, B, T + 1)."""
    task = Task(**json.loads((folder / TASK).read_text()))
    return task, load_file(folder / WEIGHTS), load_file(folder / BATCHES)["tokens"]
