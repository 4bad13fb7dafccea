"""The rows of an open dataset, and the texts in them: a column, a field within one, the first item of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import datasets
import pyarrow as pa
from cllm.errors import DataError, did_you_mean

from cllm_hf.library import WHO, network, told
from cllm_hf.part import Part

ROWS = 64  # that are held at once
_MOST_NAMES = 50  # that are shown
_EXPECTED = ("data that the library can read", "check the data, or get them again")


class Rows:
    """The rows of a dataset, with no more columns than the fields need; `place` is that of the last, for messages."""

    def __init__(self, part: Part, fields: tuple[str, ...]) -> None:
        """Raises DataError where the library cannot read what its own header says."""
        self._part = part
        self._fields = fields
        self._number = 0
        self._paths: dict[str, list[str]] = {}  # by field: its column, and the names within
        with told(part.title, *_EXPECTED):
            self._tables: Iterator[pa.Table] = iter(part.rows.with_format("arrow").iter(ROWS))
            kinds = (part.rows.features or {}).items()
            self._labels = {name: kind.names for name, kind in kinds if isinstance(kind, datasets.ClassLabel)}

    @property
    def place(self) -> str:
        return f"{self._part.title}: row {self._number:,}"

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Raises DataError for a file that is broken, and columns that are not there."""
        while (rows := self._next()) is not None:
            for row in rows:
                self._number += 1
                yield row

    def _next(self) -> list[dict[str, Any]] | None:
        """Some rows, or none, for a file may hold empty tables; None at the end."""
        with network(self._part.online), told(self._part.title, *_EXPECTED):
            table = next(self._tables, None)
            if table is None:
                return None
            self._paths = {field: self._path(field, table.column_names) for field in self._fields}
            chosen = table.select(list(dict.fromkeys(path[0] for path in self._paths.values())))
            chosen.validate(full=True)  # arrow files are mapped as they are: a wrong offset would lead anywhere
            rows: list[dict[str, Any]] = chosen.to_pylist()
            return rows

    def text(self, row: Mapping[str, Any], field: str) -> str:
        """The text of a field in a row; of a list that of its first item, and none of an empty one."""
        column, *names = self._paths[field]
        value = _first(row[column])
        for name in names:
            if value == "":  # an empty list
                return ""
            if not isinstance(value, Mapping) or name not in value:
                raise self._refuse(field, f"has no {name!r}, for it is {_kind(value)}")
            value = _first(value[name])
        if field in self._labels and isinstance(value, int):
            return self._label(field, value)
        if not isinstance(value, str):
            raise self._refuse(field, f"is {_kind(value)}")
        return value

    def _label(self, field: str, value: int) -> str:
        names = self._labels[field]
        if not 0 <= value < len(names):
            raise self._refuse(field, f"is {value}, no label of its {len(names)}")
        return str(names[value])

    def _path(self, field: str, columns: list[str]) -> list[str]:
        """A column of that very name, or else one with fields within it."""
        path = [field] if field in columns else field.split(".")
        if path[0] in columns:
            return path
        shown = columns[:_MOST_NAMES]
        came = f"{self._part.title}: no field {field!r}, but {', '.join(map(repr, shown)) or 'none'}"
        todo = did_you_mean(field, shown, "set field or template to what there is")
        raise DataError(WHO, came, f"a field {field!r}", todo)

    def _refuse(self, field: str, came: str) -> DataError:
        return DataError(WHO, f"{self.place}: {field!r} {came}", "text", "correct the row, or choose other fields")


def _first(value: Any) -> Any:
    """A list's first item, for an answer may be given several times; "" of an empty list."""
    while isinstance(value, list):
        value = value[0] if value else ""
    return value


def _kind(value: object) -> str:
    names = {bool: "true or false", type(None): "null", int: "a number", float: "a number", bytes: "bytes"}
    if isinstance(value, Mapping):
        return f"a table of {', '.join(map(repr, list(value)[:_MOST_NAMES])) or 'nothing'}"
    return names.get(type(value), "text" if isinstance(value, str) else f"a {type(value).__name__}")
