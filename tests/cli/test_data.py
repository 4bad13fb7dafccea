"""`cllm data show` and `cllm tokenizer`: what they print, and that the JSON says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cllm.cli import main
from cllm.data.tokenizerfile import load_tokenizer
from tests.data.helpers import huggingface_tokenizers

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lines.jsonl").write_text("".join(json.dumps({"text": "ab\x1b" * n}) + "\n" for n in range(1, 21)))


def printed(capsys: Capture, *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 0
    return capsys.readouterr().out


def told(capsys: Capture, *words: str) -> Any:
    return json.loads(printed(capsys, *words, "--json"))


def test_data_is_shown(capsys: Capture) -> None:
    printed(capsys, "prepare", "jsonl", "lines.jsonl", "--validation", "0", "--out", "data")
    assert printed(capsys, "data", "show", "data", "--samples", "2", "--top", "2", "--length", "4") == (
        "data/train.tokens: 20 documents, 650 tokens of tokenizer byte\n"
        "lengths: 4 to 61 tokens, the median 31\n"
        "vocabulary: 4 of 256 tokens are used\n"
        "           210 x 27  '\\x1b'\n"
        "           210 x 97  'a'\n"
        "--- document 1\nab\\x1b\n\n"
        "--- document 11\nab\\x1ba\n"
    )
    (one,) = told(capsys, "data", "show", "data/train.tokens")
    assert (one["path"], one["n_tokens"], one["samples"][0]["text"]) == ("data/train.tokens", 650, "ab\x1b\n")


def test_a_tokenizer_is_learned_and_looked_at(capsys: Capture) -> None:
    train = ("tokenizer", "train", "lines.jsonl", "--loader", "jsonl", "--tokenizer", "char", "--out", "char.json")
    digest = load_tokenizer(Path("char.json")).digest() if main(list(train)) == 0 else ""
    assert capsys.readouterr().out == f"char: 4 tokens, digest {digest}, in char.json\n"
    shown = printed(capsys, "tokenizer", "inspect", "char.json", "--text", "ba\n\x1b")
    assert shown == f"char: 4 tokens, digest {digest}\n4 characters, 4 tokens: 3 2 0 1\nb|a|\\n|\\x1b\n"
    assert told(capsys, "tokenizer", "inspect", "char.json", "--text", "ba") == {
        "name": "char", "vocab_size": 4, "digest": digest, "ids": [3, 2], "texts": ["b", "a"],
    }
    assert main(list(train)) == 1
    assert "char.json is there already" in capsys.readouterr().err
    assert main([*train[:-1], "gone/char.json"]) == 1
    assert "there is no folder gone" in capsys.readouterr().err


def test_byte_pairs_are_those_of_prepare(capsys: Capture) -> None:
    huggingface_tokenizers()
    Path("text.txt").write_text("the cat, the hat and the mat " * 50)
    printed(capsys, "tokenizer", "train", "text.txt", "--vocab-size", "270", "--out", "bpe.json")
    printed(capsys, "prepare", "text", "text.txt", "--tokenizer", "bpe", "--vocab-size", "270", "--out", "data")
    assert Path("bpe.json").read_bytes() == Path("data/tokenizer.json").read_bytes()


@pytest.mark.parametrize("words", [
    ["train", "a"], ["train", "a", "--out", "b", "--text", "c"], ["inspect", "a", "b"], ["inspect", "a", "--out", "b"],
])
def test_words_that_do_not_fit_are_wrong_usage(words: list[str], capsys: Capture) -> None:
    assert main(["tokenizer", *words]) == 2
    assert "cllm: tokenizer: " in capsys.readouterr().err


def test_named_validation_parts_and_duplicates(capsys: Capture) -> None:
    words = ["prepare", "jsonl", "lines.jsonl", "lines.jsonl", "--validation-source", "held.jsonl", "--dedup"]
    Path("held.jsonl").write_text('{"text": "ab\\u001b"}\n')
    Path("held2.jsonl").write_text('{"text": "x"}\n')
    out = printed(capsys, *words, "--validation-source", "held2.jsonl", "--out", "data")
    assert "21 documents: 646 tokens to train on, 6 to validate, in data\n1 duplicate left out\n" in out
    assert told(capsys, *words, "--out", "data2")["n_duplicates"] == 1
    assert main([*words, "--validation", "0.1"]) == 2
    assert "--validation and --validation-source" in capsys.readouterr().err
