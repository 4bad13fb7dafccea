"""GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, a head tied to the token embedding.

Parameters have the names and shapes of Hugging Face's GPT2LMHeadModel.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, Protocol

from cllm.models.shape import Shape, is_plain
from cllm.ops import OPS, OpKind
from cllm.program import TOKENS, Mode, Program


class GPT2Shape(Shape, Protocol):
    """And what GPT-2 needs besides."""

    @property
    def bias(self) -> bool | None: ...
    @property
    def activation(self) -> str | None: ...
    @property
    def layernorm_epsilon(self) -> float | None: ...


def options(config: GPT2Shape) -> dict[str, Any]:
    """The options that this family has of its own, with their defaults."""
    return {"bias": True, "activation": "gelu_tanh", "layernorm_epsilon": 1e-5}


def build(
    config: GPT2Shape, mode: Mode, kinds: Mapping[str, OpKind] = OPS, activation: str | None = None
) -> Program:
    """The Program of a resolved config; matrices start as N(0, 0.02^2), those that end a block smaller by depth.

    kinds, activation: for families of other packages, an op of theirs among the ops and instead of the config's.
    """
    assert config.vocab_size and config.block_size and config.n_layer and config.n_head and config.n_embd
    assert config.bias is not None and config.layernorm_epsilon is not None
    p = Program(mode, config.block_size, config.vocab_size, kinds)
    x = p.embedding(TOKENS, "transformer.wte", config.n_embd)
    x = p.position(x, "transformer.wpe")
    x = p.dropout(x, "transformer.drop", config.dropout)
    for layer in range(config.n_layer):
        x = block(p, x, f"transformer.h.{layer}", config, config.n_layer, config.n_head, activation)
    x = p.layernorm(x, "transformer.ln_f", config.layernorm_epsilon, bias=config.bias)
    logits, cross_entropy = (p.logits, p.cross_entropy) if is_plain(config) else (p.logits_bf16, p.cross_entropy_bf16)
    (logits if mode == "decode" else cross_entropy)(x, "lm_head", "transformer.wte.weight", config.logit_softcap)
    return p


def block(
    p: Program, x: str, name: str, config: GPT2Shape, n_layer: int, n_head: int, activation: str | None
) -> str:
    """Attention and a perceptron, each on a normalised copy of the residual stream and added back to it."""
    channels, bias, epsilon = p.width(x), bool(config.bias), config.layernorm_epsilon or 0.0
    # Two matrices a block write to the residual stream; section 2.3 of the paper scales them so that its
    # variance does not grow with depth.
    last = 0.02 / sqrt(2.0 * n_layer)
    linear, attention = (p.linear, p.attention) if is_plain(config) else (p.linear_bf16, p.attention_bf16)

    h = p.layernorm(x, f"{name}.ln_1", epsilon, bias=bias)
    h = linear(h, f"{name}.attn.c_attn", 3 * channels, bias=bias)
    h = attention(h, f"{name}.attn", n_head, config.dropout)
    h = linear(h, f"{name}.attn.c_proj", channels, bias=bias, deviation=last)
    h = p.dropout(h, f"{name}.attn.resid_dropout", config.dropout)
    x = p.add(x, h, f"{name}.attn.residual")

    h = p.layernorm(x, f"{name}.ln_2", epsilon, bias=bias)
    h = linear(h, f"{name}.mlp.c_fc", 4 * channels, bias=bias)
    h = getattr(p, activation or config.activation or "gelu_tanh")(h, f"{name}.mlp.act")
    h = linear(h, f"{name}.mlp.c_proj", channels, bias=bias, deviation=last)
    h = p.dropout(h, f"{name}.mlp.dropout", config.dropout)
    return p.add(x, h, f"{name}.mlp.residual")
