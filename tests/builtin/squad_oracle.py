"""What a SQuAD file says, read whole and in the simplest way, for the streaming reader to be held against."""

from __future__ import annotations

import json
from typing import Any

Segment = tuple[str, str]  # title, context, question or answer, and its text

FORMS = {"title": "# {}\n\n", "context": "{}\n\n", "question": "Q: {}\n", "answer": "A: {}\n"}


class Refused(Exception):
    """The file is not sound, or not SQuAD's."""


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it is written: keys in their order, double ones too."""


class Number:
    """A JSON number, which no SQuAD file is read for."""

    def __init__(self, text: str) -> None:
        self.text = text


def read_whole(data: bytes) -> list[list[Segment]]:
    """The segments of each article. Raises Refused."""
    try:
        text = data.decode("utf-8-sig")
        whole = json.loads(
            text, object_pairs_hook=Pairs, parse_constant=_refuse, parse_int=Number, parse_float=Number
        )
        _all_text(whole).encode()
    except (ValueError, RecursionError) as error:
        raise Refused from error
    articles = _member(whole, "data", list, [])
    if not articles:
        raise Refused("no articles")
    return [_article(value) for value in articles]


def rendered(segments: list[Segment]) -> str:
    """The text of an article; a blank line ends a question, answered or not."""
    text = ""
    for (kind, own), (following, _) in zip(segments, [*segments[1:], ("", "")], strict=True):
        text += FORMS[kind].format(own)
        if kind == "answer" or (kind == "question" and following != "answer"):
            text += "\n"
    return text


def _article(value: Any) -> list[Segment]:
    title = ("title", _one_line(_member(value, "title", str)))
    return [title, *(segment for one in _member(value, "paragraphs", list) for segment in _paragraph(one))]


def _paragraph(value: Any) -> list[Segment]:
    context = ("context", _member(value, "context", str))
    return [context, *(segment for one in _member(value, "qas", list) for segment in _question(one))]


def _question(value: Any) -> list[Segment]:
    question = ("question", _one_line(_member(value, "question", str)))
    answers = _member(value, "answers", list, [])
    answer = [("answer", _one_line(_member(one, "text", str))) for one in answers[:1]]
    return [question] if _member(value, "is_impossible", bool, False) else [question, *answer]


def _member(value: Any, key: str, kind: type, default: Any = None) -> Any:
    """What stands under a key of an object, at most once; without a default, exactly once."""
    if type(value) is not Pairs:
        raise Refused(f"no object with {key}")
    values = [item for name, item in value if name == key] or [default]
    if len(values) > 1 or type(values[0]) is not kind:
        raise Refused(key)
    return values[0]


def _all_text(value: Any) -> str:
    """Every string in it, keys too: half of a surrogate pair among them cannot be encoded."""
    if isinstance(value, str):
        return value
    items = value if isinstance(value, list | tuple) else []
    return "".join(map(_all_text, items))


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()) if "\n" in text or "\r" in text else text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
