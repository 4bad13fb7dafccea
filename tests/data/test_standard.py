"""The standard form: its shape, that cllm knows its own in it again, and that Hugging Face's library reads it alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.data.standard import BYTE_CHARACTERS, byte_form, char_alphabet, char_form
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.errors import TokenizerError
from tests.data.helpers import MANY_SCRIPTS, huggingface_tokenizers

ALL_CHARACTERS = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
PARTS = {
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
    "model",
}  # fmt: skip


@pytest.mark.parametrize("form", [byte_form(), char_form("abc")])
def test_it_has_the_parts_of_a_tokenizer_json(form: dict[str, Any]) -> None:
    assert set(form) == PARTS and form["version"] == "1.0" and form["added_tokens"] == []
    assert json.loads(json.dumps(form)) == form


def test_a_byte_is_spelled_as_in_gpt2() -> None:
    assert len(set(BYTE_CHARACTERS)) == 256 and BYTE_CHARACTERS[ord("!") : 0x7F].isascii()
    assert [BYTE_CHARACTERS[byte] for byte in b"A\n \x00\xff"] == ["A", "Ċ", "Ġ", "Ā", "ÿ"]
    assert byte_form()["model"]["vocab"]["Ġ"] == 32


def test_an_alphabet_is_found_again_and_nothing_else_taken_for_one() -> None:
    form = char_form("abé😀")
    assert char_alphabet(json.loads(json.dumps(form))) == "abé😀"
    others = [
        {}, {"model": 1}, {"model": {"vocab": []}}, {"model": {"vocab": {}}}, byte_form(), {**form, "normalizer": 1},
        {**form, "model": {**form["model"], "vocab": {"b": 0, "a": 1}}},
        {**form, "model": {**form["model"], "vocab": {"ab": 0}}},
    ]  # fmt: skip
    assert [char_alphabet(other) for other in others] == [None] * len(others)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """A function: a form -> their tokenizer of it."""
    library = huggingface_tokenizers()
    return lambda form: library.Tokenizer.from_str(json.dumps(form))


def test_their_library_writes_what_it_has_read(theirs: Any) -> None:
    for form in (byte_form(), char_form("abé😀\n")):
        assert json.loads(theirs(form).to_str()) == form


@pytest.mark.parametrize("text", [ALL_CHARACTERS, MANY_SCRIPTS], ids=["all characters", "many scripts"])
def test_both_give_the_same_ids_and_texts(text: str, theirs: Any) -> None:
    alphabet = CharTokenizer(text).alphabet
    for ours, form in ((ByteTokenizer(), byte_form()), (CharTokenizer(text), char_form(alphabet))):
        ids = ours.encode(text).tolist()
        assert theirs(form).encode(text).ids == ids
        assert theirs(form).decode(ids, skip_special_tokens=False) == ours.decode(ids) == text


@given(data=st.binary())
def test_bytes_that_are_no_text_become_the_same(data: bytes, theirs: Any) -> None:
    assert theirs(byte_form()).decode(list(data), skip_special_tokens=False) == ByteTokenizer().decode(list(data))


def test_both_refuse_a_character_that_is_not_in_the_alphabet(theirs: Any) -> None:
    with pytest.raises(TokenizerError, match="character 'z'"):
        CharTokenizer("ab").encode("abz")
    with pytest.raises(Exception, match="UNK"):
        theirs(char_form("ab")).encode("abz")
