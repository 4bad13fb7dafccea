"""What is told of a token file is what is in it, against plain Python over the same tokens."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cllm.data import tokenstats
from cllm.data.prepare import prepare
from cllm.data.tokenizers import ByteTokenizer
from cllm.data.tokenstats import token_files, token_stats
from cllm.data.tokenwrite import write_tokens
from cllm.errors import DataError, MemoryLimitError, TokenFileError, TokenizerError
from tests.data.helpers import Texts


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=9), st.integers(0, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_and_lengths(tmp_path: Path, documents: list[list[int]], n_samples: int) -> None:
    tokens = [token for document in documents for token in document]
    starts = [sum(map(len, documents[:number])) for number in range(len(documents))]
    write_tokens(tmp_path / "a.tokens", tokens, 10, starts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenstats, "_CHUNK", 3)
        found = token_stats(tmp_path / "a.tokens", 4, n_samples, 5)
    lengths = list(map(len, documents))
    assert (found.n_documents, found.n_tokens, found.vocab_size) == (len(documents), len(tokens), 10)
    assert (found.shortest, found.median, found.longest) == (min(lengths), statistics.median_low(lengths), max(lengths))
    ordered = sorted(Counter(tokens).items(), key=lambda item: (-item[1], item[0]))
    assert [(one.token, one.count) for one in found.frequent] == ordered[:4] and found.n_used == len(ordered)
    assert [one.tokens for one in found.samples] == [documents[one.document][:5] for one in found.samples]
    assert len(found.samples) == min(n_samples, len(documents))
    assert {one.text for one in found.frequent} == {None}


def test_text_and_both_files_of_prepared_data(tmp_path: Path) -> None:
    prepare(Texts(["abbb", "cc", "é"] * 9), ByteTokenizer, tmp_path / "out")
    files = token_files(tmp_path / "out")
    assert [path.name for path in files] == ["train.tokens", "validation.tokens"]
    found = token_stats(files[0], 1, 1, 2)
    assert (found.tokenizer, found.frequent[0].text, found.samples[0].text) == ("byte", "b", "ab")
    assert token_files(files[1]) == [files[1]]


def test_what_is_no_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="has no token files"):
        token_files(tmp_path)
    prepare(Texts(["abb"]), ByteTokenizer, tmp_path / "out")
    path = tmp_path / "out" / "train.tokens"
    (tmp_path / "out" / "tokenizer.json").write_text('{"name": "char", "version": 1, "alphabet": "ab"}')
    with pytest.raises(TokenizerError, match=r"is not the tokenizer of train\.tokens"):
        token_stats(path, 1, 1, 1)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(TokenFileError, match="does not have the digest"):
        token_stats(path, 1, 1, 1)
    write_tokens(tmp_path / "huge.tokens", [1], 1 << 31, [0])
    monkeypatch.setattr("cllm.bounded.memory_limit", lambda: 1 << 30)
    with pytest.raises(MemoryLimitError, match="a vocabulary of 2,147,483,648 tokens"):
        token_stats(tmp_path / "huge.tokens", 1, 1, 1)
