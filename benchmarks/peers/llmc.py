"""llm.c's CPU trainer as a side: the files that it reads, and a program built of a copy that the user has.

Formats as in llm.c at commit f1e2ace: the model's file is read by gpt2_build_from_checkpoint in train_gpt2.c and
written by write_model in train_gpt2.py, the tokens' by llmc/dataloader.h.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmarks.task import BETAS, EPSILON, LEARNING_RATE, Task, read

HEADER = 256  # int32, in both files
MODEL_MAGIC, MODEL_VERSION = 20240326, 3  # 3: float32
TOKENS_MAGIC, TOKENS_VERSION = 20240520, 1
PADDED = 128  # the vocabulary is filled up to a multiple of it
MOST_TOKENS = 1 << 16  # ids are uint16
# Of every layer in turn, the name and whether it is a matrix: Hugging Face's are (in, out), llm.c's (out, in).
LAYER = (
    ("ln_1.weight", False), ("ln_1.bias", False), ("attn.c_attn.weight", True), ("attn.c_attn.bias", False),
    ("attn.c_proj.weight", True), ("attn.c_proj.bias", False), ("ln_2.weight", False), ("ln_2.bias", False),
    ("mlp.c_fc.weight", True), ("mlp.c_fc.bias", False), ("mlp.c_proj.weight", True), ("mlp.c_proj.bias", False),
)
FLAGS = ("-Ofast", "-march=native", "-fopenmp", "-DOMP", "-w")  # its Makefile's where it finds OpenMP; no warnings
DRIVER = Path(__file__).with_name("llmc_step.c")


def variant(task: Task) -> Task:
    """The model that llm.c can train: biases, gelu by tanh; it clips nothing and would decay vectors too."""
    return replace(task, bias=True, activation="gelu_tanh", max_norm=None, weight_decay=0.0)


def write_model(path: Path, task: Task, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Weights by Hugging Face's names, with biases, as a checkpoint of llm.c."""
    embedding = weights["transformer.wte.weight"]
    padded = -(-task.vocab_size // PADDED) * PADDED
    shape = (task.block_size, task.vocab_size, task.n_layer, task.n_head, task.n_embd, padded)
    with path.open("wb") as file:
        file.write(_header(MODEL_MAGIC, MODEL_VERSION, *shape))
        _put(file, embedding)
        _put(file, np.zeros((padded - task.vocab_size, task.n_embd), np.float32))
        _put(file, weights["transformer.wpe.weight"])
        for name, is_matrix in LAYER:
            for layer in range(task.n_layer):
                tensor = weights[f"transformer.h.{layer}.{name}"]
                _put(file, tensor.T if is_matrix else tensor)
        _put(file, weights["transformer.ln_f.weight"])
        _put(file, weights["transformer.ln_f.bias"])


def write_tokens(path: Path, tokens: NDArray[np.int32]) -> None:
    """A stream of token ids below 2^16 as a data file of llm.c."""
    if int(tokens.max()) >= MOST_TOKENS:
        raise ValueError(f"llm.c: token {int(tokens.max())}; its files hold ids below {MOST_TOKENS:,}")
    with path.open("wb") as file:
        file.write(_header(TOKENS_MAGIC, TOKENS_VERSION, len(tokens)))
        file.write(tokens.astype("<u2").tobytes())


def build(llmc: Path, program: Path) -> None:
    """Compile the driver with the user's train_gpt2.c. Raises CalledProcessError where that fails."""
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *FLAGS, f"-I{llmc.resolve()}", DRIVER, "-lm", "-o", program], check=True)


def command(folder: Path, llmc: Path) -> list[str]:
    """Make the files of the task in `folder` and the program; returns what starts it."""
    task, weights, tokens = read(folder)
    program, model, data = folder / "llmc_step", folder / "model.bin", folder / "tokens.bin"
    build(llmc, program)
    write_model(model, task, weights)
    write_tokens(data, tokens)
    numbers = (task.batch_size, task.block_size, LEARNING_RATE, *BETAS, EPSILON, task.weight_decay)
    return [str(program), str(model), str(data), *map(str, numbers)]


def _header(*numbers: int) -> bytes:
    header = np.zeros(HEADER, "<i4")
    header[: len(numbers)] = numbers
    return header.tobytes()


def _put(file: BinaryIO, tensor: NDArray[np.float32]) -> None:
    file.write(np.ascontiguousarray(tensor, "<f4").tobytes())
