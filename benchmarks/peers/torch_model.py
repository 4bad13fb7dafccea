"""GPT-2 in plain PyTorch, of the modules and calls that nanoGPT is built of.

Left out are its dropout modules, which do nothing at rate 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.task import LAYERNORM_EPSILON, Task


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


def load(task: Task, weights: Mapping[str, NDArray[np.float32]]) -> Model:
    """The task's model with these weights, whose matrices are (in, out) as Hugging Face's; PyTorch's are (out, in)."""
    model = Model(task)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            given = torch.from_numpy(weights[name])
            owner = model.get_submodule(name.rpartition(".")[0])
            parameter.copy_(given.T if isinstance(owner, nn.Linear) else given)
    return model
