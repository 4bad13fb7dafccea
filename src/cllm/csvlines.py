"""Files of comma-separated values that only grow: a line of names, then a record a line, as spreadsheets read them.

A file keeps the columns that it was begun with, also when a later cllm, whose records have others, goes on in it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cllm.atomic import disk_errors
from cllm.errors import RunFolderError, one_line
from cllm.jsonl import LineWriter, cut_from, whole_lines


class CsvWriter:
    """Appends records to a file, each with the system when `write` returns."""

    def __init__(self, path: Path, columns: Iterable[str]) -> None:
        """Open or make `path`, with these columns if it is new; RunFolderError where it cannot be written."""
        self._lines = LineWriter(path)
        self._columns = columns_of(path)
        if not self._columns:
            self._columns = list(columns)
            self._lines.append(_line(self._columns))

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one record: what it lacks is empty, what there is no column for is left out. RunFolderError."""
        self._lines.append(_line([_cell(record.get(name)) for name in self._columns]))

    def close(self) -> None:
        """Give the file back; closing twice is allowed."""
        self._lines.close()


def columns_of(path: Path) -> list[str]:
    """The names in the first line; none where there is no such line. RunFolderError."""
    with disk_errors(RunFolderError, "run folder", path):
        return cells_of(next(whole_lines(path), b""))


def cells_of(line: bytes) -> list[str]:
    """What stands between the commas; nothing where a line is broken."""
    try:
        return next(csv.reader([line.decode()]), [])
    except (csv.Error, ValueError):
        return []


def cut_csv_from(path: Path, batch_index: int) -> None:
    """As jsonl.cut_from, by the column batch_index; a file without one stays as it is. RunFolderError."""
    columns = columns_of(path)
    if "batch_index" in columns:
        cut_from(path, batch_index, _batch_of(columns.index("batch_index")))


def _batch_of(column: int) -> Callable[[bytes], float]:
    def number(line: bytes) -> float:
        cell = next(iter(cells_of(line)[column : column + 1]), "")
        return int(cell) if cell.isascii() and cell.isdecimal() and len(cell) < 20 else -math.inf

    return number


def _cell(value: Any) -> str:
    """A value on one line: nothing for None, "nan" and "inf" as programs read them, semicolons in lists and tables."""
    if isinstance(value, Mapping):
        value = [f"{name} {one}" for name, one in value.items()]
    if isinstance(value, list | tuple):
        return one_line("; ".join(map(str, value)))
    return "" if value is None else one_line(str(value))


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue().encode()
