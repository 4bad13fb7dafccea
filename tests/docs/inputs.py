"""Small stand-ins for the files that a reader has: a book, and SQuAD's train-v2.0.json."""

from __future__ import annotations

import json
from itertools import product

WHO = ("The miller", "A sailor", "Her brother", "The old king", "Nobody")
DOES = ("walked to", "dreamt of", "wrote about", "came back from")
WHERE = ("the river", "a town by the sea", "the mountain", "an island", "the market")


def sentences() -> list[str]:
    return [" ".join(words) + "." for words in product(WHO, DOES, WHERE)]


def a_book() -> str:
    """Some 20,000 characters in paragraphs."""
    lines = sentences() * 6
    return "\n\n".join(" ".join(lines[first : first + 5]) for first in range(0, len(lines), 5)) + "\n"


def a_squad_file() -> str:
    """Twelve articles, each with two paragraphs and three questions a paragraph, one of them without an answer."""
    lines = sentences()
    articles = []
    for number in range(12):
        part = lines[number * 8 : number * 8 + 8]
        paragraphs = [{"context": " ".join(part[i : i + 4]), "qas": _questions(part[i])} for i in (0, 4)]
        articles.append({"title": f"Tale {number + 1}", "paragraphs": paragraphs})
    return json.dumps({"version": "v2.0", "data": articles})


def _questions(sentence: str) -> list[dict[str, object]]:
    answers = [{"text": sentence[:10], "answer_start": 0}]
    asked = [("Who was it?", False), ("What is told?", False), ("Which year was it?", True)]
    return [
        {"id": text, "question": text, "answers": [] if impossible else answers, "is_impossible": impossible}
        for text, impossible in asked
    ]
