"""A training step by cllm: what the trainer does between a batch and its report, with the parts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.model import program_of
from benchmarks.task import BETAS, EPSILON, LEARNING_RATE, read, windows
from cllm import aligned, kernels
from cllm.builtin.checks import ClipCheck, ClipConfig, FiniteCheck
from cllm.builtin.optimizers import AdamW, AdamWConfig
from cllm.builtin.reducers import TreeReducer
from cllm.engine import Engine
from cllm.hooks.calling import Judges
from cllm.hooks.protocols import StabilityCheck
from cllm.judging import judge, update
from cllm.ranks import Ranks
from cllm.state import TrainState
from cllm.version import __version__
from cllm.views import Views


class CllmStep:
    """Called with the number of a step, it makes that step and returns the loss before its update."""

    def __init__(
        self, folder: Path, n_threads: int, more_checks: Mapping[str, StabilityCheck] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        task, weights, tokens = read(folder)
        program = program_of(task)
        self.engine = Engine(
            program, task.batch_size, n_threads, micro_batch_size=task.micro_batch_size, ranks=ranks,
        )
        self.n_threads = n_threads
        self.parameters = aligned.empty(program.n_parameters)
        for name, view in program.views(self.parameters):
            view[...] = weights[name]
        self.batches = [
            SimpleNamespace(
                index=index, inputs=np.ascontiguousarray(window[:, :-1]), targets=np.ascontiguousarray(window[:, 1:]),
                weights=np.ones((task.batch_size, task.block_size), dtype=np.float32), positions=None,
            )
            for index, window in enumerate(windows(task, tokens))
        ]
        checks: dict[str, StabilityCheck] = {**(more_checks or {}), "finite": FiniteCheck()}
        if task.max_norm is not None:
            checks["clip"] = ClipCheck(ClipConfig(max_norm=task.max_norm))
        optimizer = AdamW(
            AdamWConfig(learning_rate=LEARNING_RATE, betas=BETAS, epsilon=EPSILON, weight_decay=task.weight_decay)
        )
        optimizer.init(program.parameters)
        state = TrainState(program.parameters, self.parameters, optimizer, checks)
        self.parts: Any = SimpleNamespace(
            engine=self.engine, state=state, reducer=TreeReducer(), optimizer=optimizer, judges=Judges(checks),
            views=Views(program, self.engine, state, n_threads), learning_rate=lambda: LEARNING_RATE,
            n_threads=n_threads,
        )
        self.description = f"cllm {__version__}, {task.dtype}, {kernels.ISA}, {self.engine.n_shards} shards"

    def __call__(self, step: int) -> float:
        made = judge(self.parts, self.batches[step % len(self.batches)], tuple)
        if made.decision.kind == "step":
            made = update(self.parts, made)
        if made.decision.kind != "step":
            raise RuntimeError(f"step {step}: {made.decision.reasons}")
        self.shard_seconds = made.gradient.shard_seconds
        return made.gradient.loss
