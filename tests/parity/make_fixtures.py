"""Writes fixtures.safetensors, in an environment with PyTorch: `python -m tests.parity.make_fixtures`.

The models are written here once more, in plain PyTorch and float64, from their papers and without a line of cllm's;
the gradients come from autograd.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from tests.parity.cases import CASES, FIXTURES, Arrays, batch, parameters

Tensor = torch.Tensor


def mixed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention (B, T, C) of heads (B, NH, T, HS), with a full matrix of scores."""
    time = query.shape[2]
    future = torch.ones(time, time, dtype=torch.bool).triu(1)
    scores = query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5
    heads: Tensor = scores.masked_fill(future, -torch.inf).softmax(-1) @ value
    return heads.transpose(1, 2).flatten(2)


def llama(w: dict[str, Tensor], tokens: Tensor, case: dict[str, Any]) -> Tensor:
    """(B, T, V) of tokens (B, T): Llama by its definition, pairs of channels turned as complex numbers."""
    n_batch, time = tokens.shape
    size = case["n_embd"] // case["n_head"]
    frequencies = case.get("rope_theta", 10000.0) ** (-torch.arange(0, size, 2).double() / size)
    turns = torch.polar(torch.ones(time, size // 2).double(), torch.arange(time).double()[:, None] * frequencies)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], w[f"{name}.weight"], 1e-6)

    def heads(x: Tensor, name: str, kind: str) -> Tensor:
        """(B, heads, T, HS); queries and keys are normalised and turned."""
        y = (x @ w[f"{name}.{kind}_proj.weight"].T).view(n_batch, time, -1, size).transpose(1, 2)
        if kind == "v":
            return y
        if f"{name}.{kind}_norm.weight" in w:
            y = norm(y, f"{name}.{kind}_norm")
        turned = torch.complex(*y.chunk(2, dim=-1)) * turns
        return torch.cat([turned.real, turned.imag], dim=-1)

    x = w["model.embed_tokens.weight"][tokens]
    for layer in range(case["n_layer"]):
        name = f"model.layers.{layer}"
        h, attn, mlp = norm(x, f"{name}.input_layernorm"), f"{name}.self_attn", f"{name}.mlp"
        group = case["n_head"] // case["n_kv_head"]
        key, value = (heads(h, attn, kind).repeat_interleave(group, dim=1) for kind in "kv")
        x = x + mixed(heads(h, attn, "q"), key, value) @ w[f"{attn}.o_proj.weight"].T
        h = norm(x, f"{name}.post_attention_layernorm")
        gate, up = (h @ w[f"{mlp}.{kind}_proj.weight"].T for kind in ("gate", "up"))
        x = x + (F.silu(gate) * up) @ w[f"{mlp}.down_proj.weight"].T
    head = "model.embed_tokens" if case.get("tie_embeddings") else "lm_head"
    return norm(x, "model.norm") @ w[f"{head}.weight"].T


def gpt2(w: dict[str, Tensor], tokens: Tensor, case: dict[str, Any]) -> Tensor:
    """(B, T, V) of tokens (B, T): GPT-2 by its definition."""
    n_batch, time = tokens.shape
    approximate = "none" if case.get("activation") == "gelu" else "tanh"

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w.get(f"{name}.bias"), 1e-5)

    def linear(x: Tensor, name: str) -> Tensor:
        y = x @ w[f"{name}.weight"]
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    def attention(x: Tensor) -> Tensor:
        return mixed(*x.view(n_batch, time, 3, case["n_head"], -1).permute(2, 0, 3, 1, 4))  # (3, B, NH, T, HS)

    x = w["transformer.wte.weight"][tokens] + w["transformer.wpe.weight"][:time]
    for layer in range(case["n_layer"]):
        name = f"transformer.h.{layer}"
        h = attention(linear(norm(x, f"{name}.ln_1"), f"{name}.attn.c_attn"))
        x = x + linear(h, f"{name}.attn.c_proj")
        h = F.gelu(linear(norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc"), approximate=approximate)
        x = x + linear(h, f"{name}.mlp.c_proj")
    return norm(x, "transformer.ln_f") @ w["transformer.wte.weight"].T


def truth(name: str) -> Arrays:
    """The mean loss () and the gradient of every parameter, float64; losses weigh as the batch says."""
    case = CASES[name]
    given = {key: torch.from_numpy(array) for key, array in batch(name).items()}
    w = {key: torch.from_numpy(array).double().requires_grad_() for key, array in parameters(name).items()}
    out = (llama if case.get("family") == "llama" else gpt2)(w, given["inputs"].long(), case)
    counted = given["targets"] >= 0
    losses = F.cross_entropy(out[counted], given["targets"][counted].long(), reduction="none")
    weights = given["weights"][counted].double()
    loss = (losses * weights).sum() / weights.sum()
    gradients = torch.autograd.grad(loss, list(w.values()))
    return {
        "loss": loss.detach().numpy(),
        **{f"gradient/{key}": gradient.numpy() for key, gradient in zip(w, gradients, strict=True)},
    }


def fixtures() -> Arrays:
    """All that the file holds: CASE/loss, CASE/gradient/..., CASE/parameter/..., CASE/inputs, targets, weights."""
    tensors: Arrays = {}
    for name in CASES:
        given = {f"parameter/{key}": array for key, array in parameters(name).items()}
        tensors |= {f"{name}/{key}": array for key, array in {**truth(name), **given, **batch(name)}.items()}
    return tensors


if __name__ == "__main__":
    save_file(fixtures(), FIXTURES, metadata={"made with": f"torch {torch.__version__}"})
    print(f"{FIXTURES}: {FIXTURES.stat().st_size:,} bytes")
