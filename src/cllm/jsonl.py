"""Files of JSON lines that only grow: a record a line, written whole; a kill tears the last line at most.

A line without its newline is torn and does not count. Nothing here knows what is in a record but its "batch_index".
What is said of lines holds for those of csvlines.py too.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cllm.atomic import disk_errors
from cllm.bounded import next_line
from cllm.errors import RunFolderError


class LineWriter:
    """Appends lines to a file; they are with the system (`durable`: on the disk) when append returns."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        """Open or make `path` and cut off a torn last line; RunFolderError where it cannot be written."""
        self.path = path
        self._durable = durable
        with disk_errors(RunFolderError, "run folder", path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            os.ftruncate(self._descriptor, sum(len(line) + 1 for line in whole_lines(path)))

    def append(self, line: bytes) -> None:
        """Add one line (without its newline); after a RunFolderError the file is as it was before.

        `durable` reads it back as well: of a write that was short and claimed otherwise nothing would be known until a
        resume finds the chain of the ledger broken.
        """
        with disk_errors(RunFolderError, "run folder", self.path):
            end = os.fstat(self._descriptor).st_size
            try:
                self._write_all(line + b"\n")
                if self._durable:
                    self._make_last(line + b"\n", end)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, end)
                raise

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one record, see `line_of`."""
        self.append(line_of(record).encode())

    def close(self) -> None:
        """Give the file back; closing twice is allowed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with disk_errors(RunFolderError, "run folder", self.path):
                os.close(descriptor)

    def _write_all(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _make_last(self, data: bytes, begin: int) -> None:
        os.fsync(self._descriptor)
        if os.pread(self._descriptor, len(data) + 1, begin) != data:
            raise OSError(errno.EIO, "what was read back is not what was written", str(self.path))


def line_of(record: Mapping[str, Any]) -> str:
    """A record in strict JSON; NaN and infinities, which JSON lacks, become the strings "nan", "inf", "-inf"."""
    try:
        return json.dumps(record, allow_nan=False)
    except (TypeError, ValueError):  # seldom
        return json.dumps(finite(record), allow_nan=False)


def finite(value: Any) -> Any:
    """Plain values as JSON can hold them: tuples as lists, what is not finite as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of `path` without their newlines, a torn last one left out; none if there is no such file. OSError."""
    if path.exists():
        with path.open("rb") as file:
            while line := next_line(file, path):
                if line.endswith(b"\n"):
                    yield line[:-1]


def batch_of(line: bytes) -> float:
    """The batch of the record in a line; -inf, so that the line stays, where there is none."""
    number = (record_of(line) or {}).get("batch_index")
    return number if isinstance(number, int) else -math.inf


def cut_from(path: Path, batch_index: int, number_of: Callable[[bytes], float] = batch_of) -> None:
    """Cut off what begins with the first record of this batch or a later one, and a torn last line; RunFolderError.

    number_of: the batch of a line, -inf where it tells of none. Batches only ascend, whatever becomes of them: of steps
    there are several with one number where a run goes back.
    """
    if not path.exists():
        return
    with disk_errors(RunFolderError, "run folder", path):
        end = 0
        for line in whole_lines(path):
            if number_of(line) >= batch_index:
                break
            end += len(line) + 1
        with path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())


def record_of(line: bytes) -> dict[str, Any] | None:
    """The record in a line, None where it holds none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
