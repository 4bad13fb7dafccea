"""tokenizer.json that is none: of char, byte and bpe, in cllm's own form and in that of Hugging Face's libraries."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cllm.data.standard import byte_form, char_form
from cllm.errors import CllmError, ConfigError, TokenizerError
from tests.hostile.case import Case, Words
from tests.hostile.samples import text

AGAIN = "get the file again, or prepare the data again"
A_FILE = "a tokenizer's JSON file"


def tokenizer(
    name: str, content: Any, came: str, expected: str, todo: str, who: str = "tokenizer",
    error: type[CllmError] = TokenizerError, *more: str,
) -> Case:
    def make(folder: Path) -> Words:
        text(folder)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "bad.json").write_bytes(data)
        return ["prepare", "text", "text.txt", "--tokenizer", "./bad.json", "--out", "out", *more]

    return Case(f"tokenizer: {name}", make, error, who, came, expected, todo)


def own(name: str, content: dict[str, Any], came: str, which: str, expected: str = "version 1") -> Case:
    return tokenizer(name, content, came, expected, "use the file that was written with", f"tokenizer {which}")


def changed(**parts: Any) -> dict[str, Any]:
    form = byte_form()
    return form | {key: part(form[key]) if callable(part) else part for key, part in parts.items()}


def model(**parts: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda form: form | parts


def without(form: dict[str, Any], token: str) -> dict[str, int]:
    return {one: place for place, one in enumerate(sorted(form["model"]["vocab"].keys() - {token}))}


def bpe(name: str, content: Any, came: str, expected: str, todo: str) -> Case:
    """What needs the library even to be refused."""
    return tokenizer(f"bpe: {name}", content, came, expected, todo, "tokenizer bpe")


def missing(folder: Path) -> Words:
    text(folder)
    return ["prepare", "text", "text.txt", "--tokenizer", "./gone.json", "--out", "out"]


def a_folder(folder: Path) -> Words:
    text(folder)
    (folder / "dir.json").mkdir()
    return ["prepare", "text", "text.txt", "--tokenizer", "./dir.json", "--out", "out"]


def too_large(folder: Path) -> Words:
    text(folder)
    (folder / "large.json").write_bytes(b" " * (65 << 20))
    return ["prepare", "text", "text.txt", "--tokenizer", "./large.json", "--out", "out"]


def unknown_character(folder: Path) -> Words:
    (folder / "text.txt").write_text("abc ~ abc")
    (folder / "abc.json").write_text(json.dumps({"name": "char", "version": 1, "alphabet": "abc "}))
    return ["prepare", "text", "text.txt", "--tokenizer", "./abc.json", "--out", "out"]


ANOTHER, BYTE_LEVEL = "use another tokenizer.json", "byte-level BPE, as GPT-2's"
REFUSES, WHOLE, GET = "what its library refuses", "a whole tokenizer.json", "get the file again"
KIND = "a tokenizer of another kind"
EACH_BYTE = "a token for each byte, and ids from 0 on"

CASES = [
    tokenizer("empty", b"", "bad.json: not JSON", A_FILE, AGAIN),
    tokenizer("cut", json.dumps(byte_form()).encode()[:-9], "bad.json: not JSON", A_FILE, AGAIN),
    tokenizer("binary", bytes(range(256)), "bad.json: not JSON", A_FILE, AGAIN),
    tokenizer("nested 100,000 deep", b"[" * 100_000, "bad.json: not JSON", A_FILE, AGAIN),
    tokenizer("a number of 9,999 digits", b'{"name": ' + b"9" * 9999 + b"}", "bad.json: not JSON", A_FILE, AGAIN),
    tokenizer("a list", [], "bad.json: neither model nor name", A_FILE, AGAIN),
    tokenizer("a number", 7, "bad.json: neither model nor name", A_FILE, AGAIN),
    tokenizer("an empty object", {}, "bad.json: neither model nor name", A_FILE, AGAIN),
    tokenizer("a number for a name", {"name": 1}, "bad.json: neither model nor name", A_FILE, AGAIN),
    tokenizer("a name that nobody has", {"name": "bite"}, '[data] tokenizer = "bite"', "one of bpe, byte, char",
              'did you mean "byte"?', "config", ConfigError),
    tokenizer("a name with an escape sequence", {"name": "\x1b[2J\nbyte"}, '[data] tokenizer = "\x1b[2J', "one of bpe",
              "did you mean", "config", ConfigError),
    own("byte of version 2", {"name": "byte", "version": 2}, "a JSON form with name, version", "byte"),
    own("byte with something more", {"name": "byte", "version": 1, "more": 0}, "with name, version, more", "byte"),
    own("char without its alphabet", {"name": "char", "version": 1}, "with name, version", "char", "alphabet"),
    own("char with a list", {"name": "char", "version": 1, "alphabet": ["a"]}, "alphabet", "char"),
    own("char with true for 1", {"name": "char", "version": True, "alphabet": "ab"}, "alphabet", "char"),
    own("bpe without anything", {"name": "bpe", "version": 1}, "with name, version", "bpe", "tokenizer"),
    tokenizer("char with no characters", {"name": "char", "version": 1, "alphabet": ""}, "the alphabet ''",
              "at least one character", "build it from real text", "tokenizer char"),
    tokenizer("char with half a pair", {"name": "char", "version": 1, "alphabet": "a\ud800"}, "the alphabet 'a\\ud800'",
              "no half of a surrogate pair", "build it from real text", "tokenizer char"),
    bpe("no model", {"model": None}, KIND, BYTE_LEVEL, ANOTHER),
    bpe("a model that is text", {"model": "BPE"}, KIND, BYTE_LEVEL, ANOTHER),
    bpe("WordPiece", changed(model={"type": "WordPiece", "vocab": {}}), KIND, BYTE_LEVEL, ANOTHER),
    bpe("not byte-level", changed(pre_tokenizer=None), KIND, BYTE_LEVEL, ANOTHER),
    bpe("char with a normalizer", char_form("ab") | {"normalizer": {"type": "NFC"}}, KIND, BYTE_LEVEL, ANOTHER),
    bpe("dropout", changed(model=model(dropout=0.5)), "a model with dropout", "one that always gives",
        "set its dropout"),
    Case("tokenizer: missing", missing, TokenizerError, "tokenizer", "gone.json: No such file", "a path that is there",
         "check the path"),
    Case("tokenizer: a folder", a_folder, TokenizerError, "tokenizer", "dir.json: Is a directory", "a file", "choose"),
    Case("tokenizer: of 65 MiB", too_large, TokenizerError, "tokenizer", "large.json: it has more than 64 MiB",
         "a file as small as others of its kind", "check that it is the file that you mean"),
    Case("tokenizer: a character that it lacks", unknown_character, TokenizerError, "tokenizer char",
         ("text.txt, from character 0 on", "character '~' (U+007E) at place 4"), "one of its 4 characters", "byte"),
    tokenizer("options for one that is there", {"name": "byte", "version": 1}, "vocab_size", "no options",
              "leave them out",
              "tokenizer", ConfigError, "--vocab-size", "300"),
]
if importlib.util.find_spec("tokenizers"):  # tox -e tokenizers has it
    CASES += [
        bpe("a vocabulary that is a number", changed(model=model(vocab=1)), REFUSES, WHOLE, GET),
        bpe("a merge of nothing", changed(model=model(merges=["a"])), REFUSES, WHOLE, GET),
        bpe("a merge of unknown tokens", changed(model=model(merges=["aa bb"])), REFUSES, WHOLE, GET),
        bpe("an unknown key", changed() | {"more": 1}, REFUSES, WHOLE, GET),
        bpe("an id of 10^18", changed(model=lambda m: m | {"vocab": m["vocab"] | {"zz": 10**18}}), REFUSES, WHOLE, GET),
        bpe("a gap in its ids", changed(model=lambda m: m | {"vocab": m["vocab"] | {"zz": 10**9}}),
            "ids with gaps between them", EACH_BYTE, ANOTHER),
        bpe("a byte without a token", changed(model=model(vocab=without(byte_form(), "~"))), "1 bytes without a token",
            EACH_BYTE, ANOTHER),
    ]
