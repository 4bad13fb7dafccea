"""What transformers needs beside weights and tokenizer.json to load a checkpoint: the two files of settings."""

from __future__ import annotations

from typing import Any

from cllm.config import ModelConfig

# Their names: "gelu" is the exact one, "gelu_new" the tanh formula of the paper.
ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}
TOKENIZER_CONFIG = "tokenizer_config.json"


def model_config(model: ModelConfig) -> dict[str, Any]:
    """The content of a checkpoint's config.json for a run's completed `[model]`; empty for a family unknown to them."""
    if model.logit_softcap:
        # Neither of their classes has it, and one that is named would ignore it.
        return {"final_logit_softcapping": model.logit_softcap}
    if model.family == "llama":
        return llama_config(model)
    if model.family != "gpt2":
        return {}
    assert model.activation is not None and model.layernorm_epsilon is not None
    return gpt2_config(
        vocab_size=model.vocab_size or 0, block_size=model.block_size, n_embd=model.n_embd, n_layer=model.n_layer,
        n_head=model.n_head, activation=model.activation, layernorm_epsilon=model.layernorm_epsilon,
        dropout=model.dropout,
    )


def gpt2_config(
    *,
    vocab_size: int,
    block_size: int,
    n_layer: int,
    n_head: int,
    n_embd: int,
    activation: str,
    layernorm_epsilon: float,
    dropout: float,
) -> dict[str, Any]:
    """The content of config.json for the model gpt2; KeyError for an activation unknown to transformers."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocab_size,
        "n_positions": block_size,
        "n_ctx": block_size,
        "n_embd": n_embd,
        "n_layer": n_layer,
        "n_head": n_head,
        "activation_function": ACTIVATIONS[activation],
        "layer_norm_epsilon": layernorm_epsilon,
        "resid_pdrop": dropout,
        "embd_pdrop": dropout,
        "attn_pdrop": dropout,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": None,  # the default, 50256, lies outside a small vocabulary
        "eos_token_id": None,
    }


def llama_config(model: ModelConfig) -> dict[str, Any]:
    """The content of config.json for the family llama: of Llama or, where queries and keys are normalised, of Qwen3."""
    name, type_ = ("Qwen3ForCausalLM", "qwen3") if model.qk_norm else ("LlamaForCausalLM", "llama")
    return {
        "architectures": [name],
        "model_type": type_,
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.block_size,
        "hidden_size": model.n_embd,
        "intermediate_size": model.n_inner,
        "num_hidden_layers": model.n_layer,
        "num_attention_heads": model.n_head,
        "num_key_value_heads": model.n_kv_head,
        "head_dim": model.n_embd // model.n_head,
        "hidden_act": "silu",
        "rms_norm_eps": model.rmsnorm_epsilon,
        "rope_theta": model.rope_theta,  # where versions before 5 look for it
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "attention_bias": False,
        "attention_dropout": model.dropout,
        "tie_word_embeddings": model.tie_embeddings,
        "torch_dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": None,
    }


def tokenizer_config(block_size: int) -> dict[str, Any]:
    """The content of tokenizer_config.json: tokenizer.json as it is; GPT-2's class would add tokens of its own."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": block_size,
        "clean_up_tokenization_spaces": False,  # or decoding would take blanks away
    }
