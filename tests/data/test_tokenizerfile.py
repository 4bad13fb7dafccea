"""tokenizer.json: written in the standard form, read in it and in a tokenizer's own, and refused if it is neither."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cllm.data.tokenizerfile import builtin, load_tokenizer, save_tokenizer, tokenizer_bytes
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.errors import TokenizerError

TOKENIZERS: list[Any] = [ByteTokenizer(), CharTokenizer("abc é—😀\n")]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_saved_and_loaded_is_equal(tokenizer: Any, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.to_json() == tokenizer.to_json() and loaded.digest() == tokenizer.digest()
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_file_in_the_tokenizers_own_form_is_read(tokenizer: Any, tmp_path: Path) -> None:
    """As cllm wrote them before there was a standard one."""
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer.to_json()))
    assert load_tokenizer(tmp_path / "tokenizer.json").digest() == tokenizer.digest()


class Shouting(ByteTokenizer):
    """A plugin's tokenizer, made from one of cllm's own."""

    name = "shouting"

    def to_json(self) -> dict[str, Any]:
        return {"name": "shouting", "loud": True}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ByteTokenizer:
        assert data["loud"]
        return cls()


def test_a_plugins_tokenizer_stands_in_its_own_form(tmp_path: Path) -> None:
    save_tokenizer(Shouting(), tmp_path / "tokenizer.json")
    classes = {"shouting": Shouting}
    assert isinstance(load_tokenizer(tmp_path / "tokenizer.json", classes.__getitem__), Shouting)
    assert json.loads(tokenizer_bytes(Shouting())) == {"name": "shouting", "loud": True}


def test_cllms_own_are_found_by_name() -> None:
    assert builtin("byte") is ByteTokenizer and builtin("char") is CharTokenizer


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"name": 1}', '{"name": "bpe", "version": 1}', '{"name": "byte", "version": 2}', "[" * 100_000,
     '{"name": "char", "version": 1}', '{"name": "char", "version": 1, "alphabet": ["a"]}', "\x80"],
)  # fmt: skip
def test_broken_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(TokenizerError):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="No such file"):
        load_tokenizer(tmp_path / "tokenizer.json")
