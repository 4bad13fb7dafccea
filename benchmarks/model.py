"""A task's model as cllm builds it: its Program, its FLOPs, the weights that every side starts from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from benchmarks.task import LAYERNORM_EPSILON, Task, write
from cllm.initialise import initial_parameters
from cllm.models.gpt2 import build
from cllm.program import Program

SEED = 1337


def program_of(task: Task) -> Program:
    settings = {**asdict(task), "dropout": 0.0, "layernorm_epsilon": LAYERNORM_EPSILON, "logit_softcap": 0.0}
    return build(SimpleNamespace(**settings), "train")


def flops_of(task: Task) -> float:
    """Of a step: what the model asks for, of attention the half that is not masked. No side is given more."""
    return program_of(task).flops_per_token(task.block_size) * task.n_tokens


def prepare(folder: Path, task: Task) -> None:
    """Make the folder that sides read."""
    program = program_of(task)
    write(folder, task, dict(program.views(initial_parameters(program, SEED))))
