"""`cllm prepare`: which of its failures are wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm.assemble import kinds_of
from cllm.cli import main
from cllm.data import CharTokenizer
from cllm.data.kinds import tokenizer_named
from cllm.hooks.manager import build_manager


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("loader", ["text", "squad"])
def test_a_loader_that_reads_files_wants_a_source(loader: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", loader]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"cllm: prepare: {loader} without a source; expected what it shall read: files, folders")
    assert message.endswith(f"; as in cllm prepare {loader} PATH\n")


def test_a_loader_that_needs_no_source_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "pydoc", "--out", "pydoc"]) == 0


def test_a_source_that_is_not_there_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "text", "missing.txt"]) == 1
    assert "missing.txt: No such file" in capsys.readouterr().err


def test_a_share_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    Path("book.txt").write_text("A book.")
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "text", "book.txt", "--validation", "2"])
    assert ended.value.code == 2


def test_one_is_not_many(capsys: pytest.CaptureFixture[str]) -> None:
    Path("book.txt").write_text("Ab")
    assert main(["prepare", "text", "book.txt", "--out", "book"]) == 0
    assert capsys.readouterr().out == (
        "1 segment, 0 characters of context, 2 tokens (byte, vocabulary 256)\n"
        "1 document: 1 token to train on, 1 to validate, in book\n"
    )


PLUGIN = """
import msgspec
from cllm.data.tokenizers import CharTokenizer
from cllm.hooks import TokenizerSpec, hookimpl

class Config(msgspec.Struct):
    vocab_size: int = 3

class Few(CharTokenizer):
    name = "few"

    @classmethod
    def from_texts(cls, texts, config):
        return cls("".join(sorted(set("".join(texts)))[:config.vocab_size]))

@hookimpl
def cllm_register_tokenizers():
    yield TokenizerSpec("few", "the first characters", Few, Config)
"""


def test_a_plugins_tokenizer_learns_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    Path("few.py").write_text(PLUGIN)
    Path("book.txt").write_text("abcba")
    words = ["prepare", "text", "book.txt", "-p", "./few.py", "--tokenizer", "few"]
    assert main([*words, "--out", "three"]) == 0
    assert "5 tokens (few, vocabulary 3)" in capsys.readouterr().out
    assert main([*words, "--out", "two", "--vocab-size", "2"]) == 1
    assert "tokenizer few: " in capsys.readouterr().err


ALPHABET = """
import msgspec
from cllm.data.tokenizers import CharTokenizer
from cllm.hooks import TokenizerSpec, hookimpl

class Config(msgspec.Struct, forbid_unknown_fields=True):
    alphabet: str

class Given:
    def __new__(cls, config):
        return CharTokenizer(config.alphabet)

@hookimpl
def cllm_register_tokenizers():
    yield TokenizerSpec("given", "the characters that it is told", Given, Config)
"""


def test_a_tokenizer_is_told_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    Path("given.py").write_text(ALPHABET)
    Path("book.txt").write_text("abcba")
    words = ["prepare", "text", "book.txt", "-p", "./given.py", "--tokenizer", "given", "--out", "book"]
    assert main(words) == 2
    assert "without alphabet; expected text; add alphabet" in capsys.readouterr().err
    assert main([*words, "--tokenizer-set", "letters=abc"]) == 2
    assert "has no 'letters'; expected one of alphabet" in capsys.readouterr().err
    assert main([*words, "--tokenizer-set", "alphabet=abcd"]) == 0
    assert "5 tokens (char, vocabulary 4)" in capsys.readouterr().out


def test_a_tokenizer_that_does_not_learn_is_known_by_what_it_is() -> None:
    Path("given.py").write_text(ALPHABET)
    kinds = kinds_of(build_manager(["./given.py"]))
    made, how = tokenizer_named("given", {"alphabet": "ab"}, kinds)
    assert how is None and not isinstance(made, type) and made.digest() == CharTokenizer("ab").digest()
    assert tokenizer_named("char", {}, kinds) == (CharTokenizer, None)  # which learns from the text first
