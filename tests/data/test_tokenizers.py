"""Tokenizers: there and back, as JSON, as a stream, and what they do not know."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.data.tokenizers import ByteTokenizer, CharTokenizer, load_tokenizer, save_tokenizer, stream_decoder
from cllm.errors import TokenizerError

TEXTS = st.text(st.characters(codec="utf-8"))
TOKENIZERS: list[Any] = [ByteTokenizer(), CharTokenizer("abc é—😀\n")]


@given(text=TEXTS)
def test_byte_ids_are_utf8(text: str) -> None:
    ids = ByteTokenizer().encode(text)
    assert ids.tobytes() == text.encode() and ids.dtype == np.uint8
    assert ByteTokenizer().decode(ids) == text


@given(text=TEXTS.filter(bool))
def test_char_ids_are_places_in_the_sorted_alphabet(text: str) -> None:
    tokenizer = CharTokenizer.from_texts([text[:3], text[3:]])
    assert list(tokenizer.alphabet) == sorted(set(text))
    assert tokenizer.encode(text).tolist() == [tokenizer.alphabet.index(char) for char in text]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(data=st.binary(), cuts=st.lists(st.integers(0, 50)))
def test_byte_stream_gives_what_decode_gives(data: bytes, cuts: list[int]) -> None:
    decoder = stream_decoder(ByteTokenizer())
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    text = "".join(decoder.push(list(data[a:b])) for a, b in pairwise(bounds))
    assert text + decoder.finish() == ByteTokenizer().decode(list(data)) == data.decode(errors="replace")


def test_byte_stream_holds_back_half_a_character() -> None:
    decoder = stream_decoder(ByteTokenizer())
    assert [decoder.push(byte) for byte in "é—".encode()] == ["", "é", "", "", "—"]
    assert decoder.push([0xE2]) == "" and decoder.finish() == "\ufffd"


def test_char_stream_is_immediate() -> None:
    tokenizer = CharTokenizer("abc")
    decoder = stream_decoder(tokenizer)
    assert [decoder.push(token) for token in (2, 0)] == ["c", "a"] and decoder.finish() == ""


def test_char_takes_the_smallest_dtype() -> None:
    assert CharTokenizer("ab").encode("a").dtype == np.uint8
    assert CharTokenizer("".join(map(chr, range(300)))).encode("a").dtype == np.uint16


@pytest.mark.parametrize(
    ("text", "char", "place"), [("abcdz", "'z'", 4), ("ab€", "U\\+20AC", 2), ("a\ud800", "U\\+D800", 1)]
)
def test_unknown_character_is_named_with_its_place(text: str, char: str, place: int) -> None:
    with pytest.raises(TokenizerError, match=f"{char}.* at place {place} "):
        CharTokenizer("abcd").encode(text)


def test_byte_refuses_half_a_surrogate_pair() -> None:
    with pytest.raises(TokenizerError, match=r"U\+DC00.* at place 2 "):
        ByteTokenizer().encode("ab\udc00")


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("wrong", [-1, "vocab_size"])
def test_foreign_ids_are_refused(tokenizer: Any, wrong: int | str) -> None:
    token = tokenizer.vocab_size if wrong == "vocab_size" else wrong
    with pytest.raises(TokenizerError, match=f"token id {token}"):
        tokenizer.decode([0, token])


@pytest.mark.parametrize("alphabet", ["", "a\ud800"])
def test_impossible_alphabets_are_refused(alphabet: str) -> None:
    with pytest.raises(TokenizerError, match="alphabet"):
        CharTokenizer(alphabet)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_saved_and_loaded_is_equal(tokenizer: Any, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.to_json() == tokenizer.to_json() and loaded.digest() == tokenizer.digest()
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_digests_tell_tokenizers_apart_and_stay() -> None:
    digests = {ByteTokenizer().digest(), CharTokenizer("ab").digest(), CharTokenizer("abc").digest()}
    assert len(digests) == 3
    # Kept in token files and checkpoints: another digest would make them foreign.
    assert ByteTokenizer().digest() == "8cacc93018e572713d49385f3f6ed67995b51e0ea2606fccc0f21a1d34f68c3d"
    assert CharTokenizer("é\na").digest() == "78efc5f19d405c049a373ef9f05dc985241e21e59646804dd16b1c6cf3b99f7c"


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
