"""Presets: the sizes that they name make models of the stated numbers of parameters; nothing is allocated."""

from __future__ import annotations

import msgspec
import pytest

import cllm
from cllm.config.presets import PRESETS
from cllm.hooks.manager import build_manager
from cllm.models.gpt2 import build

BYTES, WORDS = 256, 50257  # vocabularies: of the byte tokenizer, and of GPT-2's own

N_PARAMETERS = {  # preset, vocabulary: P; with its own vocabulary, gpt2 has as many as Hugging Face's
    ("tiny", BYTES): 834_304,
    ("mini", BYTES): 3_257_856,
    ("small", BYTES): 10_844_160,
    ("medium", BYTES): 25_613_312,
    ("gpt2", BYTES): 86_039_040,
    ("gpt2", WORDS): 124_439_808,
}


@pytest.mark.parametrize(("preset", "vocab_size"), N_PARAMETERS)
def test_a_preset_has_so_many_parameters(preset: str, vocab_size: int) -> None:
    config = cllm.load_config(None, ["data.path=book.txt", f"model.preset={preset}"])
    model = build_manager(installed=False).complete(config).model
    program = build(msgspec.structs.replace(model, vocab_size=vocab_size), "train")
    assert program.n_parameters == program.n_trainable == N_PARAMETERS[preset, vocab_size]


def test_every_preset_is_counted() -> None:
    assert {preset for preset, _ in N_PARAMETERS} == set(PRESETS)
