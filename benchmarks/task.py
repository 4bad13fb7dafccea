"""What is measured: the models' sizes, and a folder with the weights and batches that all sides start from.

Peers read it too, so it imports nothing of cllm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

N_BATCHES = 16  # used in turn
LEARNING_RATE, BETAS, EPSILON = 1e-3, (0.9, 0.99), 1e-8
LAYERNORM_EPSILON = 1e-5
TASK, WEIGHTS, TOKENS = "task.json", "weights.safetensors", "tokens.safetensors"


@dataclass(frozen=True)
class Task:
    """A model as nanoGPT trains it on a CPU (no biases, exact gelu, no dropout) and its batch."""

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    batch_size: int
    bias: bool = False
    activation: str = "gelu"
    max_norm: float | None = 1.0  # what the gradient is clipped to
    weight_decay: float = 0.1
    micro_batch_size: int | None = None  # cllm's shards, where they are not its own choice
    dtype: str = "float32"  # of cllm's products; a peer has its own

    @property
    def n_tokens(self) -> int:
        """Of a step."""
        return self.batch_size * self.block_size


TASKS = {
    "XS": Task(100, 32, 2, 4, 64, 8),
    "S": Task(65, 64, 4, 4, 128, 12),  # configs/shakespeare.toml
    "M": Task(256, 256, 6, 6, 384, 16),
    "L64": Task(50257, 64, 12, 12, 768, 4),  # GPT-2 with 124 million parameters, as llm.c trains it on a CPU
    "L256": Task(50257, 256, 12, 12, 768, 4),
}


def write(folder: Path, task: Task, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Make a folder of weights under Hugging Face's names and a stream of random tokens (N_BATCHES B T + 1,)."""
    folder.mkdir(exist_ok=True)
    (folder / TASK).write_text(json.dumps(asdict(task)))
    save_file(dict(weights), folder / WEIGHTS)
    tokens = np.random.default_rng(5).integers(task.vocab_size, size=N_BATCHES * task.n_tokens + 1, dtype=np.int32)
    save_file({"tokens": tokens}, folder / TOKENS)


def read(folder: Path) -> tuple[Task, dict[str, NDArray[np.float32]], NDArray[np.int32]]:
    """What `write` wrote: task, weights by name, the stream of tokens."""
    task = Task(**json.loads((folder / TASK).read_text()))
    return task, load_file(folder / WEIGHTS), load_file(folder / TOKENS)["tokens"]


def windows(task: Task, tokens: NDArray[np.int32]) -> NDArray[np.int32]:
    """The stream as batches (N_BATCHES, B, T + 1), whose last token of a row is the first of the next, as in llm.c."""
    rows = sliding_window_view(tokens, task.block_size + 1)[:: task.block_size]
    return rows.reshape(N_BATCHES, task.batch_size, task.block_size + 1)
