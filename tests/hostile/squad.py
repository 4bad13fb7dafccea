"""Files that `squad` shall read and cannot: no JSON, JSON of another form, what would take memory or time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cllm.errors import DataError
from tests.hostile.case import Case, Words

TEXT = {"context": "The Rhine is long.", "qas": [{"question": "How?", "answers": [{"text": "long"}]}]}


def article(**changes: Any) -> dict[str, Any]:
    return {"data": [{"title": "Rhine", "paragraphs": [TEXT]} | changes]}


def paragraph(**changes: Any) -> dict[str, Any]:
    return article(paragraphs=[TEXT | changes])


def question(**changes: Any) -> dict[str, Any]:
    return paragraph(qas=[{"question": "How?", "answers": [{"text": "long"}]} | changes])


WHOLE = json.dumps(article()).encode()


def squad(
    name: str, value: Any, came: str, expected: str, todo: str = "check that it is a SQuAD v1.1 or v2.0 file"
) -> Case:
    def make(folder: Path) -> Words:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        (folder / "bad.json").write_bytes(data)
        return ["prepare", "squad", "bad.json", "--out", "out"]

    return Case(f"squad: {name}", make, DataError, "squad", ("bad.json", came), expected, todo)


AGAIN = "repair the file or fetch it again"
TO_TEXT = "convert it"
JSON = "one whole JSON value"


def missing(folder: Path) -> Words:
    return ["prepare", "squad", "gone.json", "--out", "out"]


def a_folder(folder: Path) -> Words:
    (folder / "data.json").mkdir()
    return ["prepare", "squad", "data.json", "--out", "out"]


def second_is_bad(folder: Path) -> Words:
    (folder / "good.json").write_bytes(WHOLE)
    (folder / "bad.json").write_bytes(WHOLE[:-1])
    return ["prepare", "squad", "good.json", "bad.json", "--out", "out"]


CASES = [
    squad("an empty file", b"", "the file is empty", "a JSON value", AGAIN),
    squad("blanks alone", b" \n\t ", "broken JSON", JSON, AGAIN),
    squad("zero bytes", bytes(1000), "at byte 0 it has a zero byte: it is binary", "UTF-8 text", "name a text file"),
    squad("gzip", b"\x1f\x8b\x08\0" + bytes(99), "begins like a gzip file", "UTF-8 text", "convert it from gzip"),
    squad("zip", b"PK\3\4" + bytes(99), "begins like a zip file", "UTF-8 text", "convert it from zip"),
    squad("UTF-16", json.dumps(article()).encode("utf-16"), "begins like a UTF-16 file", "UTF-8 text", TO_TEXT),
    squad("Latin-1", WHOLE.replace(b"Rhine", b"Rh\xefn"), "is not UTF-8 (byte 0xef", "UTF-8 text", TO_TEXT),
    squad("cut in the middle", WHOLE[: len(WHOLE) // 2], "broken JSON", JSON, AGAIN),
    squad("one byte short", WHOLE[:-1], "broken JSON (parse error: premature EOF)", JSON, AGAIN),
    squad("something behind it", WHOLE + b"{}", "broken JSON", JSON, AGAIN),
    squad("two files in one", WHOLE + b"\n" + WHOLE, "broken JSON", JSON, AGAIN),
    squad("a comma too many", WHOLE.replace(b"}]}]}]", b"},]}]}]"), "broken JSON", JSON, AGAIN),
    squad("single quotes", WHOLE.replace(b'"', b"'"), "broken JSON", JSON, AGAIN),
    squad("NaN", WHOLE.replace(b'"long"', b"NaN"), "broken JSON", JSON, AGAIN),
    squad("a comment", b"// SQuAD\n" + WHOLE, "broken JSON", JSON, AGAIN),
    squad("a form feed for a blank", WHOLE.replace(b", ", b",\f"), "a vertical tab or a form feed", JSON, AGAIN),
    squad("half a surrogate pair", question(question="\ud800"), "half of a surrogate pair", "escapes that stand",
          AGAIN),
    squad("a raw control character", WHOLE.replace(b"is long", b"is\x01long"), "broken JSON", JSON, AGAIN),
    squad("an array", [article()], "the file is an array", "an object"),
    squad("a number", 7, "the file is a number", "an object"),
    squad("null", None, "the file is null", "an object"),
    squad("no data", {"version": "2.0"}, "no articles", 'an object with a list "data"'),
    squad("no articles", {"data": []}, "no articles", "at least one article"),
    squad("data twice", b'{"data":[],"data":[]}', '"data" stands twice in the file', 'one "data"', AGAIN),
    squad("data is an object", {"data": article()}, '"data" is an object', "an array"),
    squad("an article is text", {"data": ["Rhine"]}, "article 1, before byte", "an object"),
    squad("no title", {"data": [{"paragraphs": []}]}, 'an article without "title"', "both"),
    squad("the title is null", article(title=None), "the title is null", "a string"),
    squad("no paragraphs", {"data": [{"title": "t"}]}, 'without "title" or "paragraphs"', "both"),
    squad("paragraphs are an object", article(paragraphs={}), '"paragraphs" is an object', "an array"),
    squad("the context is a number", paragraph(context=1), "article 1, paragraph 1, before byte", "a string"),
    squad("no context", article(paragraphs=[{"qas": []}]), 'a paragraph without "context" or "qas"', "both"),
    squad("qas is null", paragraph(qas=None), '"qas" is null', "an array"),
    squad("a question without text", paragraph(qas=[{}]), "article 1, paragraph 1, question 1", "its text"),
    squad("a question is a list", question(question=["q"]), "the question is an array", "a string"),
    squad("answers are an object", question(answers={"text": "a"}), '"answers" is an object', "an array"),
    squad("an answer without text", question(answers=[{"answer_start": 3}]), 'an answer without "text"', "its text"),
    squad("an answer is a number", question(answers=[{"text": 308}]), "the answer's text is a number", "a string"),
    squad("is_impossible is text", question(is_impossible="no"), '"is_impossible" is a string', "true or false"),
    squad("nesting of a million", b'{"x":' + b"[" * 1_000_000, "nested more than 64 deep", "the shallow nesting",
          AGAIN),
    squad(
        "nesting in a paragraph", b'{"data":[{"title":"t","paragraphs":[{"x":' + b'{"a":' * 100_000,
        "article 1, paragraph 1", "the shallow nesting", AGAIN,
    ),
    squad("a string of 5 MiB", question(question="x" * (5 << 20)), "one value of more than 4 MiB", "shorter", AGAIN),
    squad("a number of 5 MiB", b'{"x":' + b"1" * (5 << 20), "one value of more than 4 MiB", "shorter", AGAIN),
    squad("a number of 5,000 digits", b'{"x":[' + b"1" * 5000 + b"]", "broken JSON", JSON, AGAIN),
    squad(
        "a paragraph of a million questions", paragraph(qas=[{"question": ""}] * 140_000),
        "a paragraph of more than 8 Mi characters", "smaller paragraphs", "split it; it is held in memory whole",
    ),
    squad("a page of HTML", b"<!DOCTYPE html>\n<html><body>404</body></html>", "broken JSON", JSON, AGAIN),
    squad("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid", "broken JSON", JSON, AGAIN),
    Case("squad: missing", missing, DataError, "squad", ("gone.json", "No such file"), "can be read", "check the path"),
    Case("squad: a folder", a_folder, DataError, "squad", ("data.json", "directory"), "can be read", "check the path"),
    Case("squad: the second of two", second_is_bad, DataError, "squad", ("bad.json", "broken JSON"), JSON, AGAIN),
]
