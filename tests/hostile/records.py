"""What `jsonl`, `csv`, `markdown` and `repo` shall read and cannot, or not with these options."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cllm.errors import CllmError, ConfigError, DataError
from tests.hostile.case import Case, Words


def case(
    loader: str, name: str, data: bytes, came: str | tuple[str, ...], expected: str, todo: str, *options: str,
    error: type[CllmError] = DataError, who: str | None = None,
) -> Case:
    """A file of these bytes, read with these options."""

    def make(folder: Path) -> Words:
        (folder / "bad").write_bytes(data)
        return ["prepare", loader, "bad", "--out", "out", *(word for one in options for word in ("--set", one))]

    return Case(f"{loader}: {name}", make, error, who or loader, came, expected, todo)


def line(name: str, data: bytes, came: str, expected: str, todo: str, *options: str, number: int = 2) -> Case:
    """A file of JSON Lines of which a line is bad, by default the second."""
    first = b'{"text": "good"}\n'
    return case("jsonl", name, first + data, (f"bad: line {number}: ", came), expected, todo, *options)


def row(name: str, data: bytes, came: str, expected: str, todo: str, *options: str) -> Case:
    return case("csv", name, data, ("bad: line ", came), expected, todo, *options)


def option(loader: str, name: str, came: str, *options: str) -> Case:
    """Options that the loader refuses before it reads."""
    return case(loader, name, b'{"text": "good"}\n', came, "values that fit together", "change one", *options,
                error=ConfigError, who="config")


def tree(name: str, source: str, came: str, expected: str, todo: str, *options: str) -> Case:
    """A source tree with a good file, one that is not UTF-8, one with a zero byte and a link in a circle."""

    def make(folder: Path) -> Words:
        root = folder / "tree"
        (root / "empty").mkdir(parents=True)
        (root / "good.c").write_text("good")
        (root / "latin1.c").write_bytes(b"caf\xe9")
        (root / "zero").write_bytes(b"\0")
        (root / "circle").symlink_to("circle")
        os.mkfifo(root / "empty" / "pipe")
        return ["prepare", "repo", source, "--out", "out", *(word for one in options for word in ("--set", one))]

    return Case(f"repo: {name}", make, DataError, "repo", came, expected, todo)


ONE = "one whole JSON object on each line"
CORRECT = "correct the line"
ON_LINES = "write each object of the array on a line of its own"
LONG = 17 << 20
QUOTES = "quotes in pairs"

CASES = [
    line("no JSON", b"{'text': 1}\n", "broken JSON (Expecting property name", ONE, CORRECT),
    line("a line cut in two", b'{"text": "goo', "broken JSON (Unterminated string", ONE, CORRECT),
    line("two objects on a line", b'{"text": "a"}{"text": "b"}', "broken JSON (Extra data, at character 14)", ONE,
         CORRECT),
    line("NaN", b'{"text": "a", "n": NaN}', "broken JSON (NaN is no JSON", ONE, CORRECT),
    line("minus infinity", b'{"text": "a", "n": -Infinity}', "-Infinity is no JSON", ONE, CORRECT),
    line("a key twice", b'{"text": "a", "text": "b"}', "'text' stands twice in an object", ONE, CORRECT),
    line("nested 100,000 deep", b'{"text": ' + b"[" * 100_000, "broken JSON (", ONE, CORRECT),
    line("half a surrogate pair", b'{"text": "\\ud800"}', "'text' has half of a surrogate pair",
         "escapes that stand for characters", CORRECT),
    line("an array", b'["text"]', "JSON that is no object but an array", "one JSON object on each line", ON_LINES),
    line("a text", b'"text"', "JSON that is no object but text", "one JSON object on each line",
         "check that it is a JSON Lines file"),
    line("a text that is null", b'{"text": null}', "'text' is null", "text", "correct the line, or choose other"),
    line("a text that is a number", b'{"text": 1}', "'text' is a number", "text", "correct the line, or choose other"),
    line("no such field", b'{"tetx": "a"}', "no field 'text', but 'tetx'", "a field 'text'", 'did you mean "tetx"?'),
    line("an empty object", b"{}", "no field 'text', but none", "a field 'text'", "set field or template"),
    line("a million other fields", json.dumps({f"k{n}": 0 for n in range(10**6)}).encode(), "no field 'text', but 'k0'",
         "a field 'text'", "set field or template"),
    line("no field of a template", b'{"q": "a"}', "no field 'q', but 'text'", "a field 'q'", "set field or template",
         "template=Q: {q}", number=1),
    line("a line without an end", b'{"text": "' + b"a" * LONG, "a record of more than 16 Mi characters",
         "smaller records", "split it"),
    line("a number of a million digits", b'{"text": "a", "n": 1' + b"0" * 10**6 + b"]", "broken JSON (", ONE, CORRECT),
    case("jsonl", "a JSON file of many lines", b'[\n  {"text": "a"}\n]\n', "line 1: broken JSON", ONE, ON_LINES),
    case("jsonl", "an empty file", b"", "no text in bad", "objects with text, one a line", "name another source"),
    case("jsonl", "nothing but blank lines", b"\n \r\n", "no text in bad", "objects with text", "name another source"),
    case("jsonl", "bytes that are no UTF-8", b'{"text": "\xff"}', "bad: at byte 10 it is not UTF-8", "UTF-8 text",
         "convert it"),
    case("jsonl", "gzip", b"\x1f\x8b\x08\0", "begins like a gzip file", "UTF-8 text", "convert it from gzip"),
    option("jsonl", "an answer that the template does not name", "answers has 'a', and the text is made of 'q'",
           "template={q}", 'answers=["a"]'),
    option("csv", "an answer that is no column of the text", "answers has 'a', and the text is made of 'text'",
           'answers=["a"]'),
    option("jsonl", "a field and a template", "field and template exclude each other", "field=a", "template={a}"),
    option("jsonl", "a template with a format", "braces that hold something else than a name", "template={text:>9}"),
    option("jsonl", "a template that does not end", "expected '}'", "template={text"),
    option("jsonl", "a template without a field", "names no field", "template=text"),
    row("no such column", b"txt,n\na,1\n", "no column 'text', but 'txt', 'n'", "a column 'text'", 'mean "txt"?'),
    row("another delimiter", b"text;n\na;1\n", "no column 'text', but 'text;n'", "a column 'text'",
        "set delimiter to ';'"),
    row("another delimiter between quotes", b'"text";"n"\n"a";"1"\n', "broken CSV (", QUOTES, "set delimiter"),
    row("a column twice", b"text,text\na,b\n", "2 columns 'text'", "one of that name", "rename the others"),
    case("csv", "an empty file", b"", "no text in bad", "rows with text below a header", "name another source"),
    row("a row too short", b"text,n\na,1\nb\n", "line 3: a row of 1 columns", "2, as in the header", "set delimiter"),
    row("a row too long", b"text,n\na,1,2\n", "line 2: a row of 3 columns", "2, as in the header", "set delimiter"),
    row("a quote that does not end", b'text\n"a\nb\nc', "broken CSV (unexpected end of data)", QUOTES, "correct it"),
    row("a quote that ends too soon", b'text\n"a"b\n', "line 2: broken CSV (", QUOTES, "correct it"),
    row("a quote for 17 MB", b'text\n"' + b"a,\n" * (LONG // 3), "a record of more than 16 Mi characters",
        "smaller records", "split it"),
    row("a field of 17 MB", b"text\n" + b"a" * LONG, "a record of more than 16 Mi", "smaller records", "split it"),
    row("carriage returns alone", b"text\ra\rb\r", "broken CSV (new-line character", QUOTES, "correct it"),
    case("csv", "a header alone", b"text\n", "no text in bad", "rows with text below a header", "name another source"),
    case("csv", "a zero byte", b"text\na\0b\n", "bad: at byte 6 it has a zero byte", "UTF-8 text", "name a text file"),
    option("csv", "a delimiter of two", "delimiter = '||' is not one character", "delimiter=||"),
    option("csv", "a quote between columns", "is not one character", "delimiter='\"'"),
    case("csv", "an option of another loader", b"text\na\n", "has no 'field'", "one of answers, column, delimiter",
         "choose one", "field=text", error=ConfigError, who="config"),
    case("markdown", "nothing but front matter", b"---\na: b\n---\n", "bad is empty", "a file with text",
         "name another"),
    case("markdown", "bytes that are no UTF-8", b"---\na: b\n---\n\xff", "at byte 13 it is not UTF-8", "UTF-8",
         "convert it"),
    tree("missing", "gone", "gone: No such file", "a file that can be read", "check the path"),
    tree("a file", "tree/good.c", "tree/good.c is no folder", "the folder of a source tree", "use the loader text"),
    tree("a link in a circle", "tree/circle", "circle: Too many levels of symbolic links", "a file that can", "check"),
    tree("a name with a zero byte", "a\0b", "embedded null", "a file that can be read", "check the path"),
    tree("nothing but a pipe", "tree/empty", "no text files in tree/empty", "a source tree with text",
         "see .gitignore"),
    tree("not UTF-8", "tree", "latin1.c: at byte 3 it is not UTF-8 (byte 0xe9", "UTF-8 text", "leave it out by exclude",
         "not_utf8=refuse"),
    tree("all too large", "tree", "no text files in tree", "a source tree with text", "see .gitignore", "max_bytes=1"),
    option("repo", "a header of something else", "another name in braces than path", "header={name}"),
]
