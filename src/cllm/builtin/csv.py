"""The `csv` loader: tables of comma-separated values with a header; each row is one document."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cllm.data.files import Sources
from cllm.data.records import MAX_RECORD_CHARACTERS, Lines
from cllm.data.template import chosen_template
from cllm.errors import DataError
from cllm.hooks.protocols import Document

WHO = "csv"
SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ",;\t|"


class CsvConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """source: a file, a folder (its .csv and .tsv files at any depth, but hidden ones), a glob, or several of them

    column: the column that has the text, as the header calls it; left out, and without a template, "text"
    template: text with names of columns in braces, as in "Q: {question} A: {answer}"
    delimiter: the character between two columns; left out, a tab in .tsv files and a comma in others
    answers: columns whose text is an answer, for [data] loss = "answers"
    end: what is put behind each document
    """

    source: str | list[str]
    column: str | None = None
    template: str | None = None
    answers: list[str] = []
    delimiter: str | None = None
    end: str = "\n"

    def __post_init__(self) -> None:
        chosen_template(self.column, self.template, "text", "column", self.answers)
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n\0'):
            raise ValueError(f"delimiter = {self.delimiter!r} is not one character, such as ; or a tab")


class CsvDataset:
    """The rows of tables as documents, in order, quoted as RFC 4180 has it.

    Blank lines, rows without text and empty files are passed over.
    """

    def __init__(self, config: CsvConfig) -> None:
        self._sources = Sources(config.source, WHO, SUFFIXES)
        self._template = chosen_template(config.column, config.template, "text", "column", config.answers)
        self._delimiter = config.delimiter
        self._end = config.end

    def files(self) -> list[Path]:
        """The files that decide the text, in order. Raises DataError where a source names none."""
        return self._sources.files()

    def documents(self) -> Iterator[Document]:
        """Yield each row's text.

        Raises DataError, with file and line, for a header without the columns, a row with more or fewer columns than
        the header and quotes that do not fit; with file and byte for what is not UTF-8; and where there is no text.
        """
        found = False
        for path in self.files():
            lines = Lines(path, WHO)
            rows = _rows(lines, self._delimiter or _usual_delimiter(path))
            header = next(rows, None)
            places = self._places(header, lines) if header else {}
            for row in rows:
                if document := self._document(row, places, f"{path}: line {lines.number:,}"):
                    found = True
                    yield document
        if not found:
            raise DataError(WHO, f"no text in {self._sources}", "rows with text below a header", "name another source")

    def _document(self, row: list[str], places: dict[str, int], source: str) -> Document | None:
        return self._template.document(lambda name: row[places[name]], self._end, source)

    def _places(self, header: list[str], lines: Lines) -> dict[str, int]:
        """Where the columns that are wanted stand in a row."""
        for name in self._template.fields:
            if name not in header:
                raise _no_column(name, header, lines)
            if header.count(name) > 1:
                raise lines.error(f"{header.count(name)} columns {name!r}", "one of that name", "rename the others")
        return {name: header.index(name) for name in self._template.fields}


def _usual_delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _no_column(name: str, header: list[str], lines: Lines) -> DataError:
    """The error of a header without a column that is wanted: it may be there, behind another delimiter."""
    for delimiter in _DELIMITERS:
        if len(header) == 1 and name in header[0].split(delimiter):
            todo = f"set delimiter to {delimiter!r}, as the header has it"
            return lines.error(f"no column {name!r}, but {header[0]!r}", f"a column {name!r}", todo)
    return lines.no_field(name, header, "column")


def _rows(lines: Lines, delimiter: str) -> Iterator[list[str]]:
    """The header, then the rows, all of its length. Raises DataError."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    n_columns = 0
    while (row := _next_row(reader, lines)) is not None:
        lines.begin_record()
        if not row:
            continue
        n_columns = n_columns or len(row)
        if len(row) != n_columns:
            todo = "correct the row, or set delimiter to what the file has"
            raise lines.error(f"a row of {len(row)} columns", f"{n_columns}, as in the header", todo)
        yield row


def _next_row(reader: Iterator[list[str]], lines: Lines) -> list[str] | None:
    # The module's limit is one for all of the process, and for a text that is long it is small.
    before = csv.field_size_limit(MAX_RECORD_CHARACTERS)
    try:
        return next(reader, None)
    except csv.Error as error:
        todo = "correct it, or set delimiter to what the file has"
        raise lines.error(f"broken CSV ({error})", "quotes in pairs, and doubled within quotes", todo) from None
    finally:
        csv.field_size_limit(before)
