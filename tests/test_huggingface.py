"""config.json against what transformers' GPT2Config calls its fields."""

from __future__ import annotations

from typing import Any

import pytest

from cllm.huggingface import gpt2_config

TINY: dict[str, Any] = {
    "vocab_size": 65,
    "block_size": 64,
    "n_layer": 4,
    "n_head": 2,
    "n_embd": 128,
    "layernorm_epsilon": 1e-5,
    "dropout": 0.1,
}


@pytest.mark.parametrize(("ours", "theirs"), [("gelu", "gelu"), ("gelu_tanh", "gelu_new")])
def test_the_config_says_what_the_model_is(ours: str, theirs: str) -> None:
    config = gpt2_config(activation=ours, **TINY)
    assert config == {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": 65,
        "n_positions": 64,
        "n_ctx": 64,
        "n_embd": 128,
        "n_layer": 4,
        "n_head": 2,
        "activation_function": theirs,
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": None,
    }


def test_an_activation_that_transformers_lacks_is_refused() -> None:
    with pytest.raises(KeyError):
        gpt2_config(activation="swish", **TINY)
