"""A model's text on a terminal: it may hold any character, and none may move the cursor or ring the bell."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

# Line breaks and tabs are what a text is made of; the joiners belong to Persian words and to emoji.
_HARMLESS = "\n\t\u200c\u200d"
# Control characters, those that turn the direction of writing, line and paragraph separators, halves of pairs.
_CATEGORIES = ("Cc", "Cf", "Zl", "Zp", "Cs")


def visible(text: str) -> str:
    """`text` with its control characters spelled out, as \\x1b; a carriage return before a line feed is left out."""
    return "".join(map(_spelled, text.replace("\r\n", "\n")))


def visible_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """`visible` of a text that comes in pieces: a carriage return waits for what follows it."""
    held = ""
    for piece in pieces:
        text = held + piece
        held = "\r" if text.endswith("\r") else ""
        yield visible(text.removesuffix(held))
    yield visible(held)


def _spelled(character: str) -> str:
    if character in _HARMLESS or unicodedata.category(character) not in _CATEGORIES:
        return character
    return character.encode("unicode_escape").decode()
