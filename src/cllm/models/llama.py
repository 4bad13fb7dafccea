"""Llama (Touvron et al. 2023): rotary positions, RMS norms first, gated perceptrons, grouped-query attention.

Parameters have the names and shapes of Hugging Face's LlamaForCausalLM; with qk_norm, of its Qwen3ForCausalLM.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, Protocol

from cllm.models.shape import Shape, is_plain
from cllm.ops import OPS
from cllm.program import TOKENS, Mode, Program


class LlamaShape(Shape, Protocol):
    """And what Llama needs besides."""

    @property
    def n_kv_head(self) -> int | None: ...
    @property
    def n_inner(self) -> int | None: ...
    @property
    def rope_theta(self) -> float | None: ...
    @property
    def rmsnorm_epsilon(self) -> float | None: ...
    @property
    def qk_norm(self) -> bool | None: ...
    @property
    def tie_embeddings(self) -> bool | None: ...


def options(config: LlamaShape) -> dict[str, Any]:
    """The options that this family has of its own, with their defaults."""
    assert config.n_embd
    # Three matrices of 8/3 of the width hold as many weights as the two of four times the width that they replace.
    n_inner = -(-8 * config.n_embd // 3 // 32) * 32
    return {
        "n_kv_head": config.n_head, "n_inner": n_inner, "rope_theta": 10000.0, "rmsnorm_epsilon": 1e-6,
        "qk_norm": False, "tie_embeddings": False,
    }


def build(config: LlamaShape, mode: Mode) -> Program:
    """The Program of a completed config; matrices start as N(0, 0.02^2), those that end a block smaller by depth."""
    assert config.vocab_size and config.block_size and config.n_layer and config.n_head and config.n_embd
    assert config.rope_theta and config.rmsnorm_epsilon
    p = Program(mode, config.block_size, config.vocab_size, OPS)
    x = p.embedding(TOKENS, "model.embed_tokens", config.n_embd)
    x = p.dropout(x, "model.drop", config.dropout)
    turns = p.rotary_table(TOKENS, "model.rotary", config.n_embd // config.n_head, config.rope_theta)
    for layer in range(config.n_layer):
        x = block(p, x, turns, f"model.layers.{layer}", config)
    x = p.rmsnorm(x, "model.norm", config.rmsnorm_epsilon)
    head = "model.embed_tokens.weight" if config.tie_embeddings else "lm_head.weight"
    logits, cross_entropy = (p.logits, p.cross_entropy) if is_plain(config) else (p.logits_bf16, p.cross_entropy_bf16)
    (logits if mode == "decode" else cross_entropy)(x, "lm_head", head, config.logit_softcap)
    return p


def block(p: Program, x: str, turns: str, name: str, config: LlamaShape) -> str:
    """Attention and a perceptron, each on a normalised copy of the residual stream and added back to it."""
    assert config.n_layer and config.n_inner and config.rmsnorm_epsilon
    linear = p.linear_transposed if is_plain(config) else p.linear_transposed_bf16
    channels, last = p.width(x), 0.02 / sqrt(2.0 * config.n_layer)  # as in models/gpt2.py

    h = p.rmsnorm(x, f"{name}.input_layernorm", config.rmsnorm_epsilon)
    h = attention(p, h, turns, f"{name}.self_attn", config)
    h = linear(h, f"{name}.self_attn.o_proj", channels, bias=False, deviation=last)
    h = p.dropout(h, f"{name}.self_attn.dropout", config.dropout)
    x = p.add(x, h, f"{name}.self_attn.residual")

    h = p.rmsnorm(x, f"{name}.post_attention_layernorm", config.rmsnorm_epsilon)
    gate = linear(h, f"{name}.mlp.gate_proj", config.n_inner, bias=False)
    up = linear(h, f"{name}.mlp.up_proj", config.n_inner, bias=False)
    h = p.swiglu(gate, up, f"{name}.mlp.act")
    h = linear(h, f"{name}.mlp.down_proj", channels, bias=False, deviation=last)
    h = p.dropout(h, f"{name}.mlp.dropout", config.dropout)
    return p.add(x, h, f"{name}.mlp.residual")


def attention(p: Program, h: str, turns: str, name: str, config: LlamaShape) -> str:
    """Queries and keys know their places by being turned; n_head / n_kv_head heads share keys and values."""
    assert config.n_head and config.n_kv_head and config.rmsnorm_epsilon
    linear, attend = (
        (p.linear_transposed, p.grouped_attention) if is_plain(config)
        else (p.linear_transposed_bf16, p.grouped_attention_bf16)
    )
    n_head, n_kv_head, channels = config.n_head, config.n_kv_head, p.width(h)
    narrow = channels // n_head * n_kv_head
    q = linear(h, f"{name}.q_proj", channels, bias=False)
    k = linear(h, f"{name}.k_proj", narrow, bias=False)
    v = linear(h, f"{name}.v_proj", narrow, bias=False)
    if config.qk_norm:
        q = p.rmsnorm(q, f"{name}.q_norm", config.rmsnorm_epsilon, groups=n_head)
        k = p.rmsnorm(k, f"{name}.k_norm", config.rmsnorm_epsilon, groups=n_kv_head)
    q, k = p.rotary(q, turns, f"{name}.q_rotary"), p.rotary(k, turns, f"{name}.k_rotary")
    return attend(q, k, v, name, n_head, n_kv_head, config.dropout)
