"""tokenizer.json: how a tokenizer stands beside its tokens and in checkpoints.

cllm's own are written in the form that Hugging Face's libraries read: byte and char are known again by it
(standard.py), for their library takes no other key in the file, and any other content of that form is bpe's. A
plugin's is written in its own form, an object with its name; so were cllm's own before there was a standard
one, and such files are read as ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cllm.atomic import disk_errors, write_file
from cllm.bounded import LARGEST_JSON, read_at_most
from cllm.data.bpe import BpeTokenizer
from cllm.data.standard import byte_form, char_alphabet, char_form
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.errors import TokenizerError
from cllm.hooks.protocols import Tokenizer

FILE_NAME = "tokenizer.json"


def standard_form(tokenizer: Tokenizer) -> dict[str, Any] | None:
    """The tokenizer as Hugging Face's libraries read it; None for a plugin's, also one made from cllm's own."""
    if type(tokenizer) is ByteTokenizer:
        return byte_form()
    if type(tokenizer) is CharTokenizer:
        return char_form(tokenizer.alphabet)
    return tokenizer.form if type(tokenizer) is BpeTokenizer else None


def tokenizer_bytes(tokenizer: Tokenizer) -> bytes:
    """The content of tokenizer.json."""
    form = standard_form(tokenizer) or tokenizer.to_json()
    return json.dumps(form, indent=1, ensure_ascii=True).encode() + b"\n"


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write the tokenizer's file atomically. Raises TokenizerError where that cannot be done."""
    with disk_errors(TokenizerError, "tokenizer", path):
        write_file(path, tokenizer_bytes(tokenizer))


def builtin(name: str) -> type[Tokenizer]:
    """The class of a tokenizer that comes with cllm. Raises TokenizerError for another name."""
    classes: dict[str, type[Tokenizer]] = {"byte": ByteTokenizer, "char": CharTokenizer, "bpe": BpeTokenizer}
    if name not in classes:
        raise _bad_file(f"the name {name!r}", f"one of {', '.join(classes)}")
    return classes[name]


def load_tokenizer(path: Path, class_of: Callable[[str], type[Tokenizer]] = builtin) -> Tokenizer:
    """Read a tokenizer's file; `class_of` gives the class of a name, where the file has one. Raises TokenizerError."""
    with disk_errors(TokenizerError, "tokenizer", path):
        content = read_at_most(path, LARGEST_JSON)
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise _bad_file(f"{path}: not JSON", "a tokenizer's JSON file") from None
    if isinstance(data, dict) and isinstance(data.get("name"), str):
        return class_of(data["name"]).from_json(data)
    if isinstance(data, dict) and "model" in data:
        return _from_standard(data, path)
    raise _bad_file(f"{path}: neither model nor name", "a tokenizer's JSON file")


def _from_standard(form: Mapping[str, Any], path: Path) -> Tokenizer:
    if form == byte_form():
        return ByteTokenizer()
    alphabet = char_alphabet(form)
    if alphabet is not None:
        return CharTokenizer(alphabet)
    try:
        return BpeTokenizer(form)
    except TokenizerError as error:
        raise TokenizerError(error.who, f"{path}: {error.came}", error.expected, error.todo) from None


def _bad_file(came: str, expected: str) -> TokenizerError:
    return TokenizerError("tokenizer", came, expected, "get the file again, or prepare the data again")
