"""A training step by cllm: what the trainer does between a batch and its report, with the parts of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.model import program_of
from benchmarks.task import BETAS, EPSILON, LEARNING_RATE, read, windows
from cllm import aligned, kernels
from cllm.builtin.checks import ClipCheck, ClipConfig, FiniteCheck
from cllm.builtin.optimizers import AdamW, AdamWConfig
from cllm.builtin.reducers import TreeReducer
from cllm.engine import Engine
from cllm.hooks import GradientView
from cllm.hooks.calling import judge
from cllm.hooks.protocols import StabilityCheck
from cllm.version import __version__


class CllmStep:
    """Called with the number of a step, it makes that step and returns the loss before its update."""

    def __init__(self, folder: Path, n_threads: int) -> None:
        task, weights, tokens = read(folder)
        program = program_of(task)
        self.engine = Engine(program, task.batch_size, n_threads, micro_batch_size=task.micro_batch_size)
        self.n_threads = n_threads
        self.parameters = aligned.empty(program.n_parameters)
        for name, view in program.views(self.parameters):
            view[...] = weights[name]
        self.batches = [
            SimpleNamespace(
                index=index, inputs=np.ascontiguousarray(window[:, :-1]), targets=np.ascontiguousarray(window[:, 1:]),
                weights=np.ones((task.batch_size, task.block_size), dtype=np.float32),
            )
            for index, window in enumerate(windows(task, tokens))
        ]
        self.reducer, self.norms = TreeReducer(), kernels.Norms(program.parameters)
        self.checks: dict[str, StabilityCheck] = {"finite": FiniteCheck()}
        if task.max_norm is not None:
            self.checks["clip"] = ClipCheck(ClipConfig(max_norm=task.max_norm))
        self.optimizer = AdamW(
            AdamWConfig(learning_rate=LEARNING_RATE, betas=BETAS, epsilon=EPSILON, weight_decay=task.weight_decay)
        )
        self.optimizer.init(program.parameters)
        self.description = f"cllm {__version__}, {task.dtype}, {kernels.ISA}, {self.engine.n_shards} shards"

    def __call__(self, step: int) -> float:
        result = self.engine.gradient(self.parameters, self.batches[step % len(self.batches)], self.reducer)
        norm = self.norms.compute(result.gradient, self.n_threads)
        decision = judge(self.checks, self._view(step, result.loss, norm, result.shard_losses, result.weight_sum))
        if decision.kind != "step":
            raise RuntimeError(f"step {step}: {decision.reasons}")
        self.optimizer.step(
            self.parameters, result.gradient, learning_rate=LEARNING_RATE, gradient_scale=decision.clip,
            n_threads=self.n_threads,
        )
        return result.loss

    def _view(
        self, step: int, loss: float, norm: float, shard_losses: tuple[float, ...], weight_sum: float
    ) -> GradientView:
        return GradientView(
            step=step, batch_index=step, loss=loss, gradient_norm=norm, finite=norm - norm == 0.0 == loss - loss,
            learning_rate=LEARNING_RATE, shard_losses=shard_losses, weight_sum=weight_sum,
            parameter_norm=self.norms.of,
        )
