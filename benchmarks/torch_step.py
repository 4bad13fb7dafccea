"""The same step in plain PyTorch, eager and float32, built of the modules and calls that nanoGPT is built of.

Left out are its dropout modules, which do nothing at rate 0; added is the test that loss and norm are finite.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.task import (
    BETAS,
    EPSILON,
    LAYERNORM_EPSILON,
    LEARNING_RATE,
    MAX_NORM,
    WEIGHT_DECAY,
    Task,
    read,
)


class Norm(nn.Module):
    """Layer normalisation with a gain and no shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, None, LAYERNORM_EPSILON)


class Attention(nn.Module):
    def __init__(self, channels: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.c_attn = nn.Linear(channels, 3 * channels, bias=False)
        self.c_proj = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n_batch, time, channels = x.shape
        parts = self.c_attn(x).split(channels, dim=2)
        query, key, value = (part.view(n_batch, time, self.n_head, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.c_proj(mixed.transpose(1, 2).contiguous().view(n_batch, time, channels))
        return out


class Perceptron(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(channels, 4 * channels, bias=False)
        self.act = nn.GELU()
        self.c_proj = nn.Linear(4 * channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(self.act(self.c_fc(x)))
        return out


class Block(nn.Module):
    def __init__(self, channels: int, n_head: int) -> None:
        super().__init__()
        self.ln_1, self.attn = Norm(channels), Attention(channels, n_head)
        self.ln_2, self.mlp = Norm(channels), Perceptron(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Model(nn.Module):
    """GPT-2 with a tied head; `transformer` has the names of Hugging Face's."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(task.vocab_size, task.n_embd),
            "wpe": nn.Embedding(task.block_size, task.n_embd),
            "h": nn.ModuleList([Block(task.n_embd, task.n_head) for _ in range(task.n_layer)]),
            "ln_f": Norm(task.n_embd),
        })
        self.lm_head = nn.Linear(task.n_embd, task.vocab_size, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1])
        x = self.transformer["wte"](tokens) + self.transformer["wpe"](places)
        for block in self.transformer["h"]:
            x = block(x)
        logits = self.lm_head(self.transformer["ln_f"](x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=-1)


class TorchStep:
    """Called with the number of a step, it makes that step and returns the loss before its update.

    fused: AdamW as one kernel, which nanoGPT uses on GPUs only.
    """

    def __init__(self, folder: Path, n_threads: int, fused: bool) -> None:
        torch.set_num_threads(n_threads)
        task, weights, tokens = read(folder)
        self.model = Model(task)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                given = torch.from_numpy(weights[name])
                # Theirs are (in, out), as in Hugging Face's Conv1D.
                parameter.copy_(given.T if isinstance(self._owner(name), nn.Linear) else given)
        windows = torch.from_numpy(tokens).long()
        self.batches = [(window[:, :-1].contiguous(), window[:, 1:].contiguous()) for window in windows]
        matrices = [parameter for parameter in self.model.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in self.model.parameters() if parameter.dim() < 2]
        groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, fused=fused or None)
        self.description = f"PyTorch {torch.__version__}, eager{', fused AdamW' if fused else ''}"

    def __call__(self, step: int) -> float:
        loss = self.model(*self.batches[step % len(self.batches)])
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), MAX_NORM))
        value = float(loss.detach())
        if not (isfinite(norm) and isfinite(value)):
            raise RuntimeError(f"step {step}: loss {value}, gradient norm {norm}")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def _owner(self, name: str) -> nn.Module:
        return self.model.get_submodule(name.rpartition(".")[0])
