"""Writes a file of the shape of SQuAD v2.0's train file: its counts, about its size, keys in its order.

python -m tests.data.squad_shape PATH     writes it
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

N_ARTICLES = 442
N_PARAGRAPHS = 19_035
N_QUESTIONS = 130_319
N_ANSWERABLE = 86_821
N_SEGMENTS = 236_617  # one for each of these

_WORDS = [
    "the",
    "river",
    "of",
    "an",
    "old",
    "city",
    "was",
    "first",
    "crossed",
    "by",
    "a",
    "bridge",
    "in",
    "1842",
    "—",
    "São",
    "João's",
    "engineers",
    "said",
    "“no”",
    "and",
    "built",
]


def write_squad_shape(path: Path) -> int:
    """Write the file; return the number of characters of its contexts."""
    n_characters = 0
    with path.open("w", encoding="utf-8") as stream:
        stream.write('{"version": "v2.0", "data": [')
        for number in range(N_ARTICLES):
            one = article(number)
            n_characters += sum(len(paragraph["context"]) for paragraph in one["paragraphs"])
            stream.write(", " * (number > 0) + json.dumps(one))
        stream.write("]}")
    return n_characters


def article(number: int) -> dict[str, Any]:
    """One of the N_ARTICLES."""
    paragraphs = [_paragraph(index) for index in _share(number, N_ARTICLES, N_PARAGRAPHS)]
    return {"title": f"Article_{number}", "paragraphs": paragraphs}


def _paragraph(number: int) -> dict[str, Any]:
    questions = [_question(index) for index in _share(number, N_PARAGRAPHS, N_QUESTIONS)]
    return {"qas": questions, "context": _text(number, 110 + number % 50)}


def _question(number: int) -> dict[str, Any]:
    answerable = bool(_share(number, N_QUESTIONS, N_ANSWERABLE))
    answers = [{"text": _text(number, 2), "answer_start": number % 700}] * (1 + number % 2)
    record = {"question": _text(number, 10) + "?", "id": f"{number:024x}", "is_impossible": not answerable}
    return record | ({"answers": answers} if answerable else {"plausible_answers": answers, "answers": []})


def _share(number: int, n_holders: int, n_items: int) -> range:
    """The items that fall to one of the holders when they are dealt evenly and in order."""
    return range(number * n_items // n_holders, (number + 1) * n_items // n_holders)


def _text(number: int, n_words: int) -> str:
    return " ".join(_words(number, n_words))


def _words(number: int, n_words: int) -> Iterator[str]:
    for place in range(n_words):
        yield _WORDS[(number + place * (1 + number % 7)) % len(_WORDS)]


if __name__ == "__main__":
    print(write_squad_shape(Path(sys.argv[1])))
