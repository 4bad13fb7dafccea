"""A training step by PyTorch, in the ways in which people run it on a CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from math import isfinite
from pathlib import Path

import torch
from torch import nn

from benchmarks.peers.torch_model import load
from benchmarks.task import BETAS, EPSILON, LEARNING_RATE, read, windows


class TorchStep:
    """Called with the number of a step, it makes that step and returns the loss before its update.

    fused: AdamW as one kernel, which nanoGPT uses on GPUs only. compile: the model through torch.compile. bf16: the
    forward under autocast, which leaves parameters and the optimizer in float32.
    """

    def __init__(self, folder: Path, n_threads: int, fused: bool, compile: bool, bf16: bool) -> None:
        torch.set_num_threads(n_threads)
        task, weights, tokens = read(folder)
        assert task.max_norm is not None
        self.max_norm = task.max_norm
        self.model = load(task, weights)
        self.forward = torch.compile(self.model) if compile else self.model
        self.bf16 = bf16
        self.batches = [
            (window[:, :-1].contiguous(), window[:, 1:].contiguous())
            for window in torch.from_numpy(windows(task, tokens).astype("int64"))
        ]
        matrices = [parameter for parameter in self.model.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in self.model.parameters() if parameter.dim() < 2]
        groups = [{"params": matrices, "weight_decay": task.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, fused=fused or None)
        ways = ["compiled" if compile else "eager", *["bf16"] * bf16, *["fused AdamW"] * fused]
        self.description = f"PyTorch {torch.__version__}, {', '.join(ways)}"

    def __call__(self, step: int) -> float:
        with self._precision():
            loss = self.forward(*self.batches[step % len(self.batches)])
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm))
        value = float(loss.detach())
        if not (isfinite(norm) and isfinite(value)):
            raise RuntimeError(f"step {step}: loss {value}, gradient norm {norm}")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else nullcontext()
