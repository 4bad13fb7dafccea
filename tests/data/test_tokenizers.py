"""Tokenizers: there and back, as JSON, and what they do not know."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
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
def test_the_json_form_rebuilds_it(tokenizer: Any) -> None:
    rebuilt = type(tokenizer).from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert rebuilt.to_json() == tokenizer.to_json() and rebuilt.digest() == tokenizer.digest()


def test_digests_tell_tokenizers_apart_and_stay() -> None:
    digests = {ByteTokenizer().digest(), CharTokenizer("ab").digest(), CharTokenizer("abc").digest()}
    assert len(digests) == 3
    # Kept in token files and checkpoints: another digest would make them foreign.
    assert ByteTokenizer().digest() == "8cacc93018e572713d49385f3f6ed67995b51e0ea2606fccc0f21a1d34f68c3d"
    assert CharTokenizer("é\na").digest() == "78efc5f19d405c049a373ef9f05dc985241e21e59646804dd16b1c6cf3b99f7c"
