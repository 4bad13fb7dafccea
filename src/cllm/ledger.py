"""The ledger of a run: digests of its state every N steps, and what checks decided, each record chained to the last.

Two runs did the same if their ledgers are equal, byte for byte; so nothing stands in it that another machine,
another thread count or an interruption would change. One line, `previous` being empty in the first:

    {"batch_index": 99, "decisions": {"clip": 7}, "digest": "...", "previous": "<that of the line before>", "step": 99}
    {"batch_index": 100, "event": "skip", "previous": "...", "reasons": ["spike: ..."], "step": 99}

`decisions` counts those so far, clipped updates among them, which have no line of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cllm.atomic import disk_errors
from cllm.digest import bytes_digest
from cllm.errors import RunFolderError
from cllm.jsonl import LineWriter, whole_lines


@dataclass(frozen=True)
class Record:
    """After `step` updates and `batch_index` batches the state had this digest (numerics rule 9), or this happened."""

    step: int
    batch_index: int
    digest: str | None = None
    event: str | None = None  # as a report's decision; "lower_lr" where it is an update
    more: Mapping[str, Any] = field(default_factory=dict)  # "decisions" beside a digest, "reasons" beside an event


class Ledger:
    """Appends records to a ledger that is read and found whole first."""

    def __init__(self, path: Path) -> None:
        """Open or make the ledger; RunFolderError if its chain is broken or it cannot be written."""
        records, self._previous = _read(path)
        # Durable: a checkpoint that survives a power cut must find the records of the steps before it.
        self._lines = LineWriter(path, durable=True)
        self._last = records[-1].batch_index if records else -1

    def append(self, record: Record) -> None:
        """Add a record, on the disk when this returns; one of an earlier batch than the last is refused."""
        if record.batch_index < self._last:
            raise RunFolderError(
                "ledger",
                f"a record after {record.batch_index} batches, behind one after {self._last}",
                "batches that ascend",
                "cut the ledger after the resumed batch before going on",
            )
        line = _encode(record, self._previous)
        self._lines.append(line)
        self._last, self._previous = record.batch_index, bytes_digest(line)

    def close(self) -> None:
        """Give the file back."""
        self._lines.close()


def read(path: Path) -> list[Record]:
    """The records of a ledger, none if there is no file; RunFolderError, naming the line, for a broken chain.

    A torn last line, as a kill leaves it, is dropped.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Record], str]:
    """The records, and the digest of the last line."""
    records: list[Record] = []
    previous = ""
    for number, line in enumerate(_lines(path), 1):
        record = _decode(line, previous)
        if record is None:
            raise RunFolderError(
                "ledger",
                f"line {number} of {path} is not what was written after line {number - 1}",
                "an unaltered ledger",
                "restore it from a backup, or move it away to start a new one",
            )
        records.append(record)
        previous = bytes_digest(line)
    return records, previous


def _lines(path: Path) -> Iterator[bytes]:
    with disk_errors(RunFolderError, "ledger", path):
        yield from whole_lines(path)


def _encode(record: Record, previous: str) -> bytes:
    content = {"step": record.step, "batch_index": record.batch_index, "previous": previous, **record.more}
    if record.digest is not None:
        content["digest"] = record.digest
    if record.event is not None:
        content["event"] = record.event
    return json.dumps(content, sort_keys=True).encode()


def _decode(line: bytes, previous: str) -> Record | None:
    """The record of a line that follows the line with the digest `previous`, else None."""
    try:
        content: dict[str, Any] = json.loads(line)
        own = {key: content.pop(key, None) for key in ("step", "batch_index", "digest", "event")}
        content.pop("previous", None)
        record = Record(**own, more=content)
        whole = isinstance(record.step, int) and isinstance(record.batch_index, int)
        return record if whole and line == _encode(record, previous) else None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
