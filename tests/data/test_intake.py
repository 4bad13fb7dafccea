"""Duplicates and named validation parts: what is left out leaves no trace, in tokens, counts and digests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cllm.data.prepare import prepare
from cllm.data.preparedpart import PrepareReport
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.errors import DataError, TokenizerError
from tests.data.helpers import Texts
from tests.data.test_prepare import documents_of

PIECES = st.text("ab", max_size=3)
TEXTS = st.lists(PIECES | st.tuples(PIECES, PIECES), min_size=1, max_size=12)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "prepare.json"}


def whole(texts: list[str | tuple[str, ...]]) -> list[str]:
    return [text if isinstance(text, str) else "".join(text) for text in texts]


@given(TEXTS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_it_is_as_if_duplicates_had_never_been(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | tuple[str, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("dedup")
    first = [text for text in dict.fromkeys(whole(texts)) if text]
    n_empty = sum(not text for text in whole(texts))
    if not first:
        with pytest.raises(DataError, match="no text"):
            prepare(Texts(texts), ByteTokenizer, folder / "dedup", dedup=True)
        return
    found = prepare(Texts(texts), ByteTokenizer, folder / "dedup", 0.3, dedup=True)
    # Empty documents are no tokens, but segments.
    wanted = prepare(Texts(first), ByteTokenizer, folder / "wanted", 0.3)
    assert found.n_duplicates == len(texts) - n_empty - len(first)
    assert found.n_segments == wanted.n_segments + n_empty
    if not n_empty:
        assert contents(folder / "dedup") == contents(folder / "wanted")
        assert replace(found, n_duplicates=0) == wanted
    for name in ("train.tokens", "validation.tokens"):
        if (folder / "wanted" / name).exists():
            assert documents_of(folder / "dedup" / name) == documents_of(folder / "wanted" / name)


def test_without_it_duplicates_stay(tmp_path: Path) -> None:
    report = prepare(Texts(["a", "b", "a"]), ByteTokenizer, tmp_path / "out", 0)
    assert (report.n_duplicates, documents_of(tmp_path / "out/train.tokens")) == (0, ["a", "b", "a"])


def named(tmp_path: Path, train: list[str], validation: list[str], **options: bool) -> PrepareReport:
    return prepare(Texts(train), ByteTokenizer, tmp_path / "out", Texts(validation), **options)


def test_a_validation_part_by_name(tmp_path: Path) -> None:
    report = named(tmp_path, ["one ", "two "], ["three ", "four "])
    assert documents_of(tmp_path / "out/train.tokens") == ["one ", "two "]
    assert documents_of(tmp_path / "out/validation.tokens") == ["three ", "four "]
    assert (report.n_documents, report.n_train_tokens, report.n_validation_tokens) == (4, 8, 11)


def test_what_is_held_out_is_not_trained_on(tmp_path: Path) -> None:
    report = named(tmp_path, ["a", "b", "a", "c"], ["b", "d", "d"], dedup=True)
    assert documents_of(tmp_path / "out/train.tokens") == ["a", "c"]
    assert documents_of(tmp_path / "out/validation.tokens") == ["b", "d"]
    assert (report.n_duplicates, report.n_documents) == (3, 4)


@pytest.mark.parametrize(
    ("train", "validation", "came"),
    [([""], ["a"], "no text to train on"), (["a"], [""], "no text in the validation"), (["a"], ["a"], "no text to")],
)
def test_both_parts_must_have_text(tmp_path: Path, train: list[str], validation: list[str], came: str) -> None:
    with pytest.raises(DataError, match=came):
        named(tmp_path, train, validation, dedup=True)
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_does_not_learn_from_a_named_validation_part(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="character 'c'"):
        prepare(Texts(["ab"]), CharTokenizer, tmp_path / "out", Texts(["abc"]))
