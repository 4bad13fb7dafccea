"""What a checkpoint holds of its tokenizer: the standard form and transformers' settings, or a plugin's own form."""

from __future__ import annotations

import json

from cllm.data.standard import byte_form
from cllm.data.tokenizers import ByteTokenizer
from cllm.facts import tokenizer_files


class Mine(ByteTokenizer):
    name = "mine"


def test_cllms_own_is_there_for_transformers() -> None:
    files = {name: json.loads(content) for name, content in tokenizer_files(ByteTokenizer(), 64).items()}
    assert files == {
        "tokenizer.json": byte_form(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, "clean_up_tokenization_spaces": False,
        },
    }  # fmt: skip


def test_a_plugins_is_there_in_its_own_form() -> None:
    files = {name: json.loads(content) for name, content in tokenizer_files(Mine(), 64).items()}
    assert files == {"tokenizer.json": {"name": "mine", "version": 1}}
