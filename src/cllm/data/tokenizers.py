"""Tokenizers, text to token ids and back: `byte`, and `char`, which knows the characters of one text.

A tokenizer is a value: its JSON form rebuilds it, and its digest, kept in token files and checkpoints,
says whether two are the same. How it stands in a file: tokenizerfile.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cllm.data.streams import ByteStream, StreamDecoder
from cllm.data.tokenfile import Tokens, token_dtype
from cllm.errors import TokenizerError
from cllm.hooks.protocols import Tokenizer


class ByteTokenizer:
    """Token ids are the bytes of the text in UTF-8: 256 of them, and any text can be written."""

    name = "byte"
    vocab_size = 256

    def encode(self, text: str) -> Tokens:
        """Text -> (n,) uint8. Raises TokenizerError for half a surrogate pair, which has no UTF-8."""
        return np.frombuffer(utf8(self.name, text), np.uint8)

    def decode(self, ids: ArrayLike) -> str:
        """Ids -> text; bytes that are not UTF-8 become U+FFFD, as a model may write any."""
        return self._bytes(ids).decode(errors="replace")

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ByteTokenizer:
        check_form(cls.name, data, {"name": str, "version": int})
        return cls()

    def digest(self) -> str:
        return digest_of(self)

    def stream_decoder(self) -> StreamDecoder:
        """A decoder that never gives half a character."""
        return ByteStream(self._bytes)

    def n_bytes(self, ids: ArrayLike) -> int:
        """The bytes of text that ids stand for."""
        return len(self._bytes(ids))

    def _bytes(self, ids: ArrayLike) -> bytes:
        return checked_ids(self, ids).astype(np.uint8).tobytes()


class CharTokenizer:
    """Token ids are places in an alphabet: the characters (code points) of a text, ascending."""

    name = "char"

    def __init__(self, alphabet: str) -> None:
        """`alphabet`: every character that there is; order and repetition do not matter."""
        self.alphabet = "".join(sorted(set(alphabet)))
        if not self.alphabet or any(0xD800 <= ord(char) <= 0xDFFF for char in self.alphabet):
            raise TokenizerError(
                who="tokenizer char",
                came=f"the alphabet {self.alphabet!r}",
                expected="at least one character and no half of a surrogate pair",
                todo="build it from real text",
            )
        self.vocab_size = len(self.alphabet)
        self._points = _code_points(self.alphabet)  # (vocab_size,) uint32
        self._ids = np.full(int(self._points[-1]) + 1, -1, np.int32)  # by code point; -1: not in the alphabet
        self._ids[self._points] = np.arange(self.vocab_size, dtype=np.int32)

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> CharTokenizer:
        """Build the alphabet in one pass over any amount of text."""
        alphabet: set[str] = set()
        for text in texts:
            alphabet.update(text)
        return cls("".join(alphabet))

    def encode(self, text: str) -> Tokens:
        """Text -> (n,), smallest dtype. Raises TokenizerError that says which character is unknown, and where."""
        points = _code_points(text)
        known = points < len(self._ids)
        ids = self._ids[np.where(known, points, 0)]
        unknown = np.flatnonzero(~known | (ids < 0))
        if unknown.size:
            todo = "prepare the tokenizer on text that has it, or use the byte tokenizer"
            raise _unknown(self.name, text, int(unknown[0]), f"one of its {self.vocab_size} characters", todo)
        return ids.astype(token_dtype(self.vocab_size))

    def decode(self, ids: ArrayLike) -> str:
        """Ids -> text. Raises TokenizerError for an id that is none of its own."""
        return self._points[checked_ids(self, ids)].astype("<u4").tobytes().decode("utf-32-le")

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "version": 1, "alphabet": self.alphabet}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CharTokenizer:
        check_form(cls.name, data, {"name": str, "version": int, "alphabet": str})
        return cls(data["alphabet"])

    def digest(self) -> str:
        return digest_of(self)


def digest_of(tokenizer: Tokenizer) -> str:
    """BLAKE2b-256, hexadecimal, of the tokenizer's JSON with sorted keys, no spaces and ASCII only."""
    text = json.dumps(tokenizer.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def _code_points(text: str) -> NDArray[np.uint32]:
    # surrogatepass: half a pair is then an unknown character like any other
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def checked_ids(tokenizer: Tokenizer, ids: ArrayLike) -> NDArray[np.int64]:
    """Ids as an array (n,). Raises TokenizerError for one that the tokenizer does not have."""
    array = np.atleast_1d(np.asarray(ids))
    if array.size and (int(array.min()) < 0 or int(array.max()) >= tokenizer.vocab_size):
        wrong = int(array.min()) if int(array.min()) < 0 else int(array.max())
        raise TokenizerError(
            who=f"tokenizer {tokenizer.name}",
            came=f"token id {wrong}",
            expected=f"0 <= id < {tokenizer.vocab_size}",
            todo="decode with the tokenizer that the ids were made with",
        )
    return array.astype(np.int64)


def utf8(name: str, text: str) -> bytes:
    """The bytes of text. Raises TokenizerError, of the tokenizer `name`, for half a surrogate pair."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _unknown(name, text, error.start, "text that has a UTF-8 form", "clean the text") from None


def _unknown(name: str, text: str, place: int, expected: str, todo: str) -> TokenizerError:
    char = text[place]
    came = f"character {char!r} (U+{ord(char):04X}) at place {place:,} of the text"
    return TokenizerError(who=f"tokenizer {name}", came=came, expected=expected, todo=todo)


def check_form(name: str, data: Mapping[str, Any], form: Mapping[str, type]) -> None:
    """Raises TokenizerError unless `data` is a version 1 form of the tokenizer `name` with these keys."""
    sound = set(data) == set(form) and all(type(data[key]) is kind for key, kind in form.items())
    if not sound or data["name"] != name or data["version"] != 1:
        raise TokenizerError(
            who=f"tokenizer {name}",
            came=f"a JSON form with {', '.join(map(str, data)) or 'nothing'}",
            expected=f"{', '.join(form)}, version 1",
            todo="use the file that was written with the tokenizer",
        )
