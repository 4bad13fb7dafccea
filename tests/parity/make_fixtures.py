"""Writes fixtures.safetensors, in an environment with PyTorch: `python -m tests.parity.make_fixtures`.

The model is written here once more, in plain PyTorch and float64, from the paper and without a line of cllm's; the
gradients come from autograd.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from tests.parity.cases import CASES, FIXTURES, Arrays, batch, parameters

Tensor = torch.Tensor


def logits(w: dict[str, Tensor], tokens: Tensor, n_layer: int, n_head: int, approximate: str) -> Tensor:
    """(B, T, V) of tokens (B, T): GPT-2 by its definition, with a full matrix of attention."""
    n_batch, time = tokens.shape
    future = torch.ones(time, time, dtype=torch.bool).triu(1)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w.get(f"{name}.bias"), 1e-5)

    def linear(x: Tensor, name: str) -> Tensor:
        y = x @ w[f"{name}.weight"]
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    def attention(x: Tensor) -> Tensor:
        heads = x.view(n_batch, time, 3, n_head, -1).permute(2, 0, 3, 1, 4)  # (3, B, NH, T, HS)
        query, key, value = heads
        scores = query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5
        mixed: Tensor = scores.masked_fill(future, -torch.inf).softmax(-1) @ value
        return mixed.transpose(1, 2).reshape(n_batch, time, -1)

    x = w["transformer.wte.weight"][tokens] + w["transformer.wpe.weight"][:time]
    for layer in range(n_layer):
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
    approximate = "none" if case.get("activation") == "gelu" else "tanh"
    out = logits(w, given["inputs"].long(), case["n_layer"], case["n_head"], approximate)
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
