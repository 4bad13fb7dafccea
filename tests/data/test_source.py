"""What `[data]` can name opens, and text is tokenised once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cllm.config import DataConfig, MixturePart
from cllm.data import source, tokenfile
from cllm.data.batches import evaluation_batches
from cllm.data.kinds import Kinds
from cllm.data.mixture import Mixture
from cllm.data.prepare import prepare
from cllm.data.source import OpenData, open_data
from cllm.data.tokenfile import TokenFile
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.errors import DataError, TokenFileError, TokenizerError
from cllm.hooks.protocols import Dataset, Document
from tests.data.helpers import KINDS, Texts, shared

TEXT = "To be, or not to be: that is the question.\n" * 20


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "book.txt").write_text(TEXT)
    return tmp_path / "book.txt"


def opened(tmp_path: Path, vocab_size: int | None = None, **config: Any) -> OpenData:
    return open_data(DataConfig(**config), KINDS, tmp_path / "cache", vocab_size)


def text_of(data: OpenData) -> str:
    assert data.tokenizer
    sources = [data.train, *([data.validation] if data.validation else [])]
    return "".join(data.tokenizer.decode(file.tokens) for one in sources for file in one.parts)


@pytest.mark.parametrize("tokenizer", ["byte", "char"])
def test_plain_text_is_tokenised(tmp_path: Path, book: Path, tokenizer: str) -> None:
    data = opened(tmp_path, path=str(book), tokenizer=tokenizer)
    assert text_of(data) == TEXT and data.tokenizer and data.tokenizer.name == tokenizer
    assert data.validation and data.validation.n_tokens == len(TEXT) // 10
    assert data.train.vocab_size == data.tokenizer.vocab_size == (256 if tokenizer == "byte" else len(set(TEXT)))


def test_folder_and_loader_and_glob_are_the_same_text(tmp_path: Path, book: Path) -> None:
    texts = [
        text_of(opened(tmp_path, **config))
        for config in (
            {"path": f"{tmp_path}/*.txt"},
            {"loader": "text", "source": str(book)},
            {"loader": "text", "source": [str(book)]},
        )
    ]
    assert texts == [TEXT] * 3
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_text_is_tokenised_once_until_it_changes(tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    monkeypatch.setattr(source, "prepare", lambda *given: (calls.append(given[2]), prepare(*given)))
    for _ in range(2):
        opened(tmp_path, path=str(book))
    assert len(calls) == 1
    opened(tmp_path, path=str(book), validation=0.2)
    opened(tmp_path, path=str(book), tokenizer="char")
    book.write_text(TEXT + "!")
    assert text_of(opened(tmp_path, path=str(book))) == TEXT + "!"
    assert len(set(calls)) == len(calls) == 4


@pytest.mark.parametrize("config", [{"path": "missing.txt"}, {"loader": "text", "source": ["missing.txt"]}])
def test_missing_text_is_named_with_what_to_do(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"missing\.txt: No such file .* a file that can be read; check the path"):
        opened(tmp_path, **config)


def test_another_process_may_be_faster(tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare_twice(*given: Any) -> None:
        prepare(*given)
        prepare(*given)  # the folder is there by now

    monkeypatch.setattr(source, "prepare", prepare_twice)
    assert text_of(opened(tmp_path, path=str(book))) == TEXT


def test_loader_without_files_is_known_by_its_documents(tmp_path: Path) -> None:
    class Counting(Texts):
        def documents(self) -> Iterator[Document]:
            calls.append(1)
            return super().documents()

    def make(_: str, options: Mapping[str, Any]) -> Dataset:
        return Counting([options["text"]])

    calls: list[int] = []
    kinds = Kinds(make, KINDS.tokenizer, KINDS.tokenizer_options)
    for text, n_calls in (("one text", 2), ("one text", 1), ("another", 2)):
        calls.clear()
        data = open_data(DataConfig(loader="mine", options={"text": text}), kinds, tmp_path)
        assert text_of(data) == text and len(calls) == n_calls


def test_pydoc(tmp_path: Path) -> None:
    data = opened(tmp_path, loader="pydoc")
    assert data.train.n_tokens > 300_000 and data.validation


def test_prepared_folder_keeps_what_it_was_prepared_with(tmp_path: Path) -> None:
    prepare(Texts(["one. ", "two. ", "three. "]), CharTokenizer, tmp_path / "out", 0.3)
    data = opened(tmp_path, path=str(tmp_path / "out"), tokenizer="byte", validation=0.9)
    assert data.tokenizer and data.tokenizer.name == "char"
    assert data.validation and data.validation.n_tokens < data.train.n_tokens
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("report", "is_refused"), [("", True), (None, False), ("{", False), ("[1]", False), ('{"n_tokens": 1}', False)]
)
def test_a_validation_part_that_was_prepared_must_be_there(
    tmp_path: Path, report: str | None, is_refused: bool
) -> None:
    """prepare.json remembers it; where that is not there either, or says nothing of it, there is none."""
    folder = tmp_path / "out"
    prepare(Texts([TEXT]), CharTokenizer, folder)
    (folder / "validation.tokens").unlink()
    if report is None:
        (folder / "prepare.json").unlink()
    elif report:
        (folder / "prepare.json").write_text(report)
    if is_refused:
        with pytest.raises(DataError, match=r"validation\.tokens is missing; expected the 86 tokens .* prepare"):
            opened(tmp_path, path=str(folder))
    else:
        assert opened(tmp_path, path=str(folder)).validation is None


def altered(path: Path) -> None:
    """Change one token to another of the same vocabulary."""
    data = bytearray(path.read_bytes())
    data[-33 - 64] ^= 1  # before the digest and at most 63 bytes of filling
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["train.tokens", "validation.tokens"])
@pytest.mark.parametrize("largest", [1 << 20, 0])
def test_altered_tokens_are_noticed_at_opening_or_where_a_run_verifies(
    tmp_path: Path, name: str, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenfile, "VERIFIED_AT_OPENING", largest)
    prepare(Texts([TEXT]), ByteTokenizer, tmp_path / "out")
    opened(tmp_path, path=str(tmp_path / "out")).verify()
    altered(tmp_path / "out" / name)
    if largest:
        with pytest.raises(TokenFileError, match=f"{name}: its content does not have the digest at its end"):
            opened(tmp_path, path=str(tmp_path / "out"))
    else:
        data = opened(tmp_path, path=str(tmp_path / "out"))
        with pytest.raises(TokenFileError, match=f"{name}: its content does not have the digest at its end"):
            data.verify()


def test_a_section_is_verified_as_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenfile, "VERIFIED_AT_OPENING", 0)
    prepare(Texts([TEXT]), ByteTokenizer, tmp_path / "out", 0)
    altered(tmp_path / "out/train.tokens")
    data = opened(tmp_path, path=str(tmp_path / "out/train.tokens"), validation=0.25)
    with pytest.raises(TokenFileError):
        data.verify()


def test_files_of_different_preparations_are_refused(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", "two")):
        prepare(Texts([text * 10]), CharTokenizer, tmp_path / name)
    (tmp_path / "b/validation.tokens").replace(tmp_path / "a/validation.tokens")
    with pytest.raises(DataError, match="was not prepared with"):
        opened(tmp_path, path=str(tmp_path / "a"))
    for name in ("validation.tokens", "prepare.json"):
        (tmp_path / "a" / name).unlink()
    (tmp_path / "b/tokenizer.json").replace(tmp_path / "a/tokenizer.json")
    with pytest.raises(DataError, match="is not the tokenizer of"):
        opened(tmp_path, path=str(tmp_path / "a"))
    (tmp_path / "a/tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="No such file"):
        opened(tmp_path, path=str(tmp_path / "a"))


def test_single_token_file_gives_its_last_part(tmp_path: Path) -> None:
    prepare(Texts([TEXT]), ByteTokenizer, tmp_path / "out", 0)
    data = opened(tmp_path, path=str(tmp_path / "out/train.tokens"), validation=0.25)
    assert text_of(data) == TEXT and data.validation and data.validation.n_tokens == len(TEXT) // 4
    assert opened(tmp_path, path=str(tmp_path / "out/train.tokens"), validation=0.0).validation is None


def test_nanogpt_folder_and_file(tmp_path: Path) -> None:
    np.arange(100, dtype="<u2").tofile(tmp_path / "train.bin")
    np.arange(10, dtype="<u2").tofile(tmp_path / "val.bin")
    (tmp_path / "meta.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")  # would run a command, were it unpickled
    data = opened(tmp_path, path=str(tmp_path))
    assert (data.train.n_tokens, data.tokenizer) == (100, None)
    assert data.validation and data.validation.n_tokens == 10
    assert data.train.vocab_size == data.validation.vocab_size == 100
    assert opened(tmp_path, vocab_size=50304, path=str(tmp_path)).train.vocab_size == 50304
    single = opened(tmp_path, path=str(tmp_path / "train.bin"))
    assert single.validation and (single.train.n_tokens, single.validation.n_tokens) == (90, 10)
    with pytest.raises(TokenFileError, match="token 9 "):
        list(evaluation_batches(opened(tmp_path, vocab_size=5, path=str(tmp_path)).validation or single.train, 4, 4))


def test_mixture_of_prepared_parts(tmp_path: Path) -> None:
    tokenizer = CharTokenizer("abc")
    for name, n in (("a", 100), ("b", 300)):
        prepare(Texts([name * n]), tokenizer, tmp_path / name, 0.1 if name == "a" else 0)
    parts = [MixturePart(path=str(tmp_path / name), weight=weight) for name, weight in (("a", 3.0), ("b", 1.0))]
    data = opened(tmp_path, mixture=parts)
    assert isinstance(data.train, Mixture) and data.train.places == (3072, 1024)
    assert data.validation and [file.n_tokens for file in data.validation.parts] == [10]
    assert data.tokenizer and data.tokenizer.digest() == tokenizer.digest() == data.train.tokenizer_digest


def test_mixture_of_other_tokenizers_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        prepare(Texts([name * 100]), CharTokenizer, tmp_path / name)
    with pytest.raises(DataError, match="same tokenizer"):
        opened(tmp_path, mixture=[MixturePart(path=str(tmp_path / name)) for name in "ab"])


@pytest.mark.parametrize("path", ["missing.txt", "missing/*.txt", "missing", "missing.tokens", "missing.bin"])
def test_what_is_not_there_is_told(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="missing"):
        opened(tmp_path, path=str(tmp_path / path))
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_tinyshakespeare_is_cut_as_nanogpt_cuts_it(tmp_path: Path) -> None:
    data = opened(tmp_path, path=str(shared("tinyshakespeare.txt")), tokenizer="char")
    assert data.validation and data.train.vocab_size == 65
    assert (data.train.n_tokens, data.validation.n_tokens) == (1_003_854, 111_540)
    assert isinstance(data.train, TokenFile)
