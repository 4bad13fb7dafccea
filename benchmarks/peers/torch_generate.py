"""Greedy generation by PyTorch, eager, with a cache of keys and values that has room for the whole block."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.generated import N_PROMPT, Generated, block_of, generated
from benchmarks.peers.torch_model import Block, load
from benchmarks.task import read


class TorchGenerate:
    """Called, it generates until the block is full."""

    def __init__(self, folder: Path, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        self.task, weights, _ = read(folder)
        self.model = load(self.task, weights)
        self.block = torch.from_numpy(block_of(self.task).astype("int64"))
        self.description = f"PyTorch {torch.__version__}, eager"

    @torch.inference_mode()
    def __call__(self, call: int) -> Generated:
        tokens: list[int] = []
        times, cache = [perf_counter()], self.empty_cache()
        logits = self.feed(self.block[:N_PROMPT], 0, cache)
        for place in range(N_PROMPT, len(self.block)):
            token = logits.argmax()
            tokens.append(int(token))
            times.append(perf_counter())
            if place + 1 < len(self.block):
                logits = self.feed(token[None], place, cache)
        return generated(tokens, times, times[-1], [] if call else self.largest_logits())

    def largest_logits(self) -> list[float]:
        cache = self.empty_cache()
        return [float(self.feed(token[None], place, cache).max()) for place, token in enumerate(self.block)]

    def empty_cache(self) -> Tensor:
        """(L, keys and values, one sequence, NH, T, HS)"""
        task = self.task
        return torch.zeros(task.n_layer, 2, 1, task.n_head, task.block_size, task.n_embd // task.n_head)

    def feed(self, tokens: Tensor, start: int, cache: Tensor) -> Tensor:
        """Logits (V,) after tokens (n,), the first of which is the sequence's token `start`."""
        parts = self.model.transformer
        x = (parts["wte"](tokens) + parts["wpe"](torch.arange(start, start + len(tokens))))[None]
        for block, (keys, values) in zip(parts["h"], cache, strict=True):
            x = x + attend(block, block.ln_1(x), start, keys, values)
            x = x + block.mlp(block.ln_2(x))
        logits: Tensor = self.model.lm_head(parts["ln_f"](x[0, -1]))
        return logits


def attend(block: Block, x: Tensor, start: int, keys: Tensor, values: Tensor) -> Tensor:
    """The attention of new tokens x (1, n, C) to all so far; theirs are added to the cache (1, NH, T, HS)."""
    _, n, channels = x.shape
    split = block.attn.c_attn(x).split(channels, dim=2)
    query, key, value = (part.view(1, n, block.attn.n_head, -1).transpose(1, 2) for part in split)
    end = start + n
    keys[:, :, start:end], values[:, :, start:end] = key, value
    mixed = F.scaled_dot_product_attention(query, keys[:, :, :end], values[:, :, :end], is_causal=n > 1)
    out: Tensor = block.attn.c_proj(mixed.transpose(1, 2).reshape(1, n, channels))
    return out
