"""The content of a tokenizer.json for Hugging Face's libraries, and how to know cllm's own tokenizers in one.

Each form is what their library writes when it has read it: nothing is left out that it would fill in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Bytes that are visible characters of Latin-1 stand for themselves in the names of tokens, as in GPT-2.
_VISIBLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_HIDDEN = sorted(set(range(256)) - set(_VISIBLE))  # these are the characters from U+0100 on, in order
_POINTS = {byte: byte for byte in _VISIBLE} | {byte: 0x100 + place for place, byte in enumerate(_HIDDEN)}

BYTE_CHARACTERS = "".join(chr(_POINTS[byte]) for byte in range(256))  # by byte: how the names of tokens spell it


def byte_form() -> dict[str, Any]:
    """Byte pair encoding without a pair: a token for each byte, whose id is the byte."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    model: dict[str, Any] = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": _numbered(BYTE_CHARACTERS), "merges": [],
    }  # fmt: skip
    return _form(level, model, level)


def char_form(alphabet: str) -> dict[str, Any]:
    """Every character is a word, whose id is its place in the alphabet.

    A character that is not there has no id: the library refuses it, as cllm does, because "" is no word either.
    (Byte pair encoding without a pair would leave it out, and say nothing.)
    """
    split = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
    model = {"type": "WordLevel", "vocab": _numbered(alphabet), "unk_token": ""}
    return _form(split, model, {"type": "Fuse"})


def char_alphabet(form: Mapping[str, Any]) -> str | None:
    """The alphabet of a `char_form`; None for any other content."""
    model = form.get("model")
    vocab = model.get("vocab") if isinstance(model, Mapping) else None
    alphabet = "".join(sorted(vocab)) if isinstance(vocab, Mapping) else ""
    return alphabet if alphabet and form == char_form(alphabet) else None


def _form(pre_tokenizer: Mapping[str, Any], model: Mapping[str, Any], decoder: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder, "model": model,
    }  # fmt: skip


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: place for place, token in enumerate(tokens)}
