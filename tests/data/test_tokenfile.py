"""Token files: written and mapped back, and every alteration found. nanoGPT's files open too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data import tokenfile
from cllm.data.tokenfile import TokenFile, aligned, header_digest, token_dtype
from cllm.data.tokenwrite import make_header, write_token_file, write_tokens
from cllm.errors import TokenFileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_tokens(tmp_path / "a.tokens", np.arange(1000) % 300, 300, [0, 10, 999])
    return tmp_path / "a.tokens"


@given(
    tokens=st.lists(st.integers(0, 70_000), min_size=1, max_size=300),
    spare=st.integers(0, 3),
    cuts=st.sets(st.integers(1, 299)),
)
@settings(deadline=None)
def test_what_was_written_is_mapped_back(
    tokens: list[int], spare: int, cuts: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tokens") / "a.tokens"
    starts = [0, *sorted(cut for cut in cuts if cut < len(tokens))]
    write_tokens(path, tokens, max(tokens) + 1 + spare, starts)
    file = TokenFile.open(path)
    assert file.tokens.tolist() == tokens and file.document_starts.tolist() == starts
    assert (file.n_tokens, file.n_documents, file.vocab_size) == (
        len(tokens),
        len(starts),
        max(tokens) + 1 + spare,
    )
    assert file.tokens.dtype == token_dtype(file.vocab_size) and not file.tokens.flags.writeable
    file.verify()


@pytest.mark.parametrize(
    ("vocab_size", "name"), [(1, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4"), (2**31, "u4")]
)
def test_dtype_is_the_smallest(vocab_size: int, name: str) -> None:
    assert token_dtype(vocab_size) == np.dtype(name)


def test_facts_of_the_preparation_are_kept(tmp_path: Path) -> None:
    header = make_header(3, 1, 5, "char", tokenizer_digest="ab", source_digest="cd")
    write_token_file(
        tmp_path / "a.tokens", header, [np.array([0])], [np.array([1]), np.array([], int), np.array([4, 0])]
    )
    file = TokenFile.open(tmp_path / "a.tokens")
    assert (file.tokenizer_name, file.tokenizer_digest, file.source_digest) == ("char", "ab", "cd")
    assert file.tokens.tolist() == [1, 4, 0]


def test_layout_is_as_documented(path: Path) -> None:
    data = path.read_bytes()
    n = int.from_bytes(data[8:16], "little")
    assert data[:8] == b"CLLMTOK1" and data[16:48] == header_digest(data, data[64 : 64 + n])
    starts = aligned(64 + n)
    assert np.frombuffer(data, "<i8", 3, starts).tolist() == [0, 10, 999]
    assert np.frombuffer(data, "<u2", 1000, aligned(starts + 24)).tolist() == [i % 300 for i in range(1000)]


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "small.tokens"
    write_tokens(path, range(20), 20, [0, 7])
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with pytest.raises(TokenFileError):
            TokenFile.open(path).verify()


def test_every_truncation_is_found_at_opening(path: Path) -> None:
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 31), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(TokenFileError):
            TokenFile.open(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(TokenFileError, match="something was added"):
        TokenFile.open(path)


def rewritten(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the header, with a digest that fits: as another program would write it, not as a disk would."""
    data = path.read_bytes()
    n = int.from_bytes(data[8:16], "little")
    text = msgspec.json.encode(change(msgspec.json.decode(data[64 : 64 + n])))
    begin = data[:8] + len(text).to_bytes(8, "little")
    start = (begin + header_digest(begin, text)).ljust(64, b"\0")
    path.write_bytes((start + text).ljust(aligned(64 + len(text)), b"\0") + data[aligned(64 + n) :])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "format version 2"),
        ({"dtype": "u4"}, "dtype 'u4'"),
        ({"dtype": "O"}, "dtype 'O'"),
        ({"n_tokens": 0}, "impossible counts"),
        ({"n_tokens": 2**62}, "truncated"),
        ({"n_tokens": "many"}, "header"),
        ({"n_documents": 0}, "impossible counts"),
        ({"n_documents": 1001}, "impossible counts"),
        ({"vocab_size": 0}, "impossible counts"),
        ({"vocab_size": 2**40}, "impossible counts"),
        ({"more": 1}, "header"),
    ],
)
def test_impossible_headers_are_refused(path: Path, change: dict[str, Any], reason: str) -> None:
    rewritten(path, lambda header: header | change)
    with pytest.raises(TokenFileError, match=reason):
        TokenFile.open(path)


def test_header_that_is_no_object_is_refused(path: Path) -> None:
    rewritten(path, lambda _: [1])
    with pytest.raises(TokenFileError, match="header"):
        TokenFile.open(path)


@pytest.mark.parametrize("starts", [[1, 2], [0, 5, 5], [0, 7, 6], [0, 1000], [0, -1]])
def test_document_starts_must_rise_from_0(tmp_path: Path, starts: list[int]) -> None:
    write_tokens(tmp_path / "a.tokens", np.zeros(1000, int), 1, starts)
    with pytest.raises(TokenFileError, match="document starts"):
        TokenFile.open(tmp_path / "a.tokens")


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("wrong", range(1, 8))
def test_document_starts_are_compared_over_the_ends_of_chunks(
    wrong: int, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenfile, "_CHUNK_STARTS", chunk)
    starts = list(range(8))
    write_tokens(tmp_path / "a.tokens", np.zeros(1000, int), 1, starts)
    TokenFile.open(tmp_path / "a.tokens")
    starts[wrong] = starts[wrong - 1]
    write_tokens(tmp_path / "a.tokens", np.zeros(1000, int), 1, starts)
    with pytest.raises(TokenFileError, match="document starts"):
        TokenFile.open(tmp_path / "a.tokens")


@pytest.mark.parametrize("data", [b"", b"CLLMTOK", b"text", bytes(100), b"CLLMTOK2" + bytes(100), b"\x89PNG"])
def test_foreign_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tokens").write_bytes(data)
    with pytest.raises(TokenFileError):
        TokenFile.open(tmp_path / "a.tokens")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.tokens"):
        with pytest.raises(TokenFileError):
            TokenFile.open(path)


def test_writer_refuses_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    for tokens in ([], [-1], [3]):
        with pytest.raises(ValueError, match="tokens are"):
            write_tokens(path, tokens, 3)
    with pytest.raises(ValueError, match="the header says 2 elements"):
        write_token_file(path, make_header(2, 1, 3), [np.array([0])], [np.array([1])])
    assert not list(tmp_path.iterdir())


def test_writing_replaces_in_one_step_or_not_at_all(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match="the header says"):
        write_token_file(path, make_header(2, 1, 3), [np.array([0])], [np.array([1])])
    assert path.read_bytes() == before
    write_tokens(path, [1, 2], 3)
    assert TokenFile.open(path).tokens.tolist() == [1, 2]
    assert list(path.parent.iterdir()) == [path]


def test_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="No such file"):
        write_tokens(tmp_path / "missing" / "a.tokens", [1], 2)


def test_section_is_a_file_of_its_own(path: Path) -> None:
    file = TokenFile.open(path)
    section = file.section(5, 20)
    assert section.tokens.tolist() == list(range(5, 20)) and section.document_starts.tolist() == [0, 5]
    assert (section.n_tokens, section.n_documents) == (15, 2)
    assert file.section(10, 999).document_starts.tolist() == [0]
    assert file.section(9, 1000).document_starts.tolist() == [0, 1, 990]
    section.verify()


def test_nanogpt_file_opens_with_and_without_its_vocabulary(tmp_path: Path) -> None:
    tokens = np.array([5, 0, 64, 3], "<u2")
    tokens.tofile(tmp_path / "train.bin")
    file = TokenFile.open(tmp_path / "train.bin")
    assert file.tokens.tolist() == tokens.tolist() and file.vocab_size == 65
    assert (file.n_documents, file.tokenizer_digest) == (1, "")
    file.verify()
    assert TokenFile.open(tmp_path / "train.bin", vocab_size=100).vocab_size == 100
    with pytest.raises(TokenFileError, match="token 64 with a vocabulary of 64"):
        TokenFile.open(tmp_path / "train.bin", vocab_size=64).verify()


@pytest.mark.parametrize("data", [b"", b"abc", (20240520).to_bytes(4, "little") + bytes(1020)])
def test_other_bin_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(data)
    with pytest.raises(TokenFileError):
        TokenFile.open(tmp_path / "a.bin")
