"""The loader: the rows of Parquet files as documents, a few hundred at a time, the named columns alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from cllm.data import Sources, chosen_template
from cllm.errors import DataError, did_you_mean
from cllm.hooks import Document
from msgspec import Struct
from pyarrow import parquet

WHO = "parquet.rows"
SUFFIXES = (".parquet", ".pq")
ROWS = 256  # that are held at once


class ParquetConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """source: a file, a folder (its .parquet and .pq files at any depth, but hidden ones), a glob, or several of them

    column: the column that has the text; left out, and without a template, "text"
    template: text with names of columns in braces, as in "Q: {question} A: {answer}"
    answers: columns whose text is an answer, for [data] loss = "answers"
    end: what is put behind each document
    """

    source: str | list[str]
    column: str | None = None
    template: str | None = None
    answers: list[str] = []
    end: str = "\n"

    def __post_init__(self) -> None:
        chosen_template(self.column, self.template, "text", "column", self.answers)


class ParquetDataset:
    """The rows of Parquet files as documents, in order. Rows without text are passed over."""

    def __init__(self, config: ParquetConfig) -> None:
        self._sources = Sources(config.source, WHO, SUFFIXES)
        self._template = chosen_template(config.column, config.template, "text", "column", config.answers)
        self._end = config.end

    def files(self) -> list[Path]:
        """The files that decide the text, in order. Raises DataError where a source names none."""
        return self._sources.files()

    def documents(self) -> Iterator[Document]:
        """Yield each row's text.

        Raises DataError, with the file, and the row where there is one, for files that are missing or broken, columns
        that are missing or no text, and nulls; and where there is no text at all.
        """
        found = False
        for path in self.files():
            for number, row in enumerate(_rows(path, self._template.fields), 1):
                value = partial(_text, row, path=path, number=number)
                if document := self._template.document(value, self._end, f"{path}: row {number:,}"):
                    found = True
                    yield document
        if not found:
            raise DataError(WHO, f"no text in {self._sources}", "rows with text", "name another source")


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with _told(path), parquet.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow, columns)
        for group in range(file.num_row_groups):
            # One after the other: iter_batches of all groups reads ahead.
            for batch in file.iter_batches(ROWS, row_groups=[group], columns=list(columns), use_threads=False):
                yield from batch.to_pylist()


def _check_columns(path: Path, schema: pa.Schema, columns: tuple[str, ...]) -> None:
    for name in columns:
        places = schema.get_all_field_indices(name)
        if len(places) != 1:
            shown = ", ".join(map(repr, schema.names[:50])) or "none"
            came = f"{path}: {len(places) or 'no'} columns {name!r} among {shown}"
            todo = did_you_mean(name, schema.names[:50], "set column or template to what there is")
            raise DataError(WHO, came, "one column of that name", todo)
        kind = schema.field(places[0]).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            todo = "set column or template to what is text"
            raise DataError(WHO, f"{path}: column {name!r} of type {kind}", "a column of text", todo)


def _text(row: dict[str, Any], name: str, *, path: Path, number: int) -> str:
    text = row[name]
    if text is None:
        came, todo = f"{path}: row {number:,}: {name!r} is null", "fill it, or choose other columns"
        raise DataError(WHO, came, "text in each row", todo)
    return str(text)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What pyarrow raises of a file as a DataError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        came = f"{path}: {' '.join(str(error).split())[:200] or type(error).__name__}"
        raise DataError(WHO, came, "a Parquet file", "check the path, or get the file again") from None
