"""The `jsonl` loader: files with one JSON object a line; each is one document, the text in a field or in several."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from cllm.data.files import Sources
from cllm.data.records import Lines
from cllm.data.template import chosen_template
from cllm.errors import DataError
from cllm.hooks.protocols import Document

WHO = "jsonl"
SUFFIXES = (".jsonl", ".ndjson")
_SPLIT = "write each object of the array on a line of its own, as jq -c '.[]' does"


class JsonlConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """source: a file, a folder (its .jsonl and .ndjson files at any depth, but hidden ones), a glob, or several of them

    field: the field that has the text; left out, and without a template, "text"
    template: text with names of fields in braces, as in "Q: {question} A: {answer}"
    answers: fields whose text is an answer, for [data] loss = "answers"
    end: what is put behind each document
    """

    source: str | list[str]
    field: str | None = None
    template: str | None = None
    answers: list[str] = []
    end: str = "\n"

    def __post_init__(self) -> None:
        chosen_template(self.field, self.template, "text", "field", self.answers)


class JsonlDataset:
    """The objects of JSON Lines files as documents, in order. Blank lines and objects without text are passed over."""

    def __init__(self, config: JsonlConfig) -> None:
        self._sources = Sources(config.source, WHO, SUFFIXES)
        self._template = chosen_template(config.field, config.template, "text", "field", config.answers)
        self._end = config.end

    def files(self) -> list[Path]:
        """The files that decide the text, in order. Raises DataError where a source names none."""
        return self._sources.files()

    def documents(self) -> Iterator[Document]:
        """Yield each line's text.

        Raises DataError, with file and line, for a line that is no JSON object or has not the fields; with file and
        byte for what is not UTF-8; and where there is no text at all.
        """
        found = False
        for path in self.files():
            lines = Lines(path, WHO)
            for line in lines:
                if document := self._document(line, lines):
                    found = True
                    yield document
                lines.begin_record()
        if not found:
            raise DataError(WHO, f"no text in {self._sources}", "objects with text, one a line", "name another source")

    def _document(self, line: str, lines: Lines) -> Document | None:
        if line.isspace():
            return None
        value = partial(_field, _object(line, lines), lines=lines)
        return self._template.document(value, self._end, f"{lines.path}: line {lines.number:,}")


def _object(line: str, lines: Lines) -> dict[str, Any]:
    is_array = line.lstrip().startswith("[")
    try:
        record = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        todo = _SPLIT if is_array else "correct the line"
        raise lines.error(f"broken JSON ({_reason(error)})", "one whole JSON object on each line", todo) from None
    if not isinstance(record, dict):
        todo = _SPLIT if is_array else "check that it is a JSON Lines file"
        raise lines.error(f"JSON that is no object but {_kind(record)}", "one JSON object on each line", todo)
    return record


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):  # whose own text counts lines within this one
        return f"{error.msg}, at character {error.pos + 1:,}"
    return str(error) or "too deep"


def _field(record: dict[str, Any], name: str, *, lines: Lines) -> str:
    if name not in record:
        raise lines.no_field(name, record, "field")
    value = record[name]
    if not isinstance(value, str):
        raise lines.error(f"{name!r} is {_kind(value)}", "text", "correct the line, or choose other fields")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        came = f"{name!r} has half of a surrogate pair (\\ud800 to \\udfff)"
        raise lines.error(came, "escapes that stand for characters", "correct the line")
    return value


def _kind(value: object) -> str:
    names = {bool: "true or false", dict: "an object", list: "an array", type(None): "null"}
    return names.get(type(value), "text" if isinstance(value, str) else "a number")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        twin = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twin!r} stands twice in an object")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# Python's json takes NaN and the last of two equal keys without a word, and refuses numbers of more than 4,300 digits,
# which nobody needs here as numbers.
_DECODER = json.JSONDecoder(object_pairs_hook=_without_twins, parse_int=float, parse_constant=_no_constant)
