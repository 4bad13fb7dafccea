"""The ledger of a run: the digest of its state every N steps, each record chained to the line before it.

Two runs did the same if their ledgers are equal, byte for byte; so nothing stands in it that another machine,
another thread count or an interruption would change. One line, `previous` being empty in the first:

    {"batch_index": 100, "digest": "...", "previous": "<digest of the line before>", "step": 100}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cllm.digest import bytes_digest
from cllm.errors import RunFolderError
from cllm.jsonl import LineWriter, whole_lines


@dataclass(frozen=True)
class Record:
    """After `step` updates and `batch_index` batches the state had this digest (numerics rule 9)."""

    step: int
    batch_index: int
    digest: str


class Ledger:
    """Appends records to a ledger that is read and found whole first."""

    def __init__(self, path: Path) -> None:
        """Open or make the ledger; RunFolderError if its chain is broken or it cannot be written."""
        records, self._previous = _read(path)
        # Durable: a checkpoint that survives a power cut must find the records of the steps before it.
        self._lines = LineWriter(path, durable=True)
        self._last_step = records[-1].step if records else -1

    def append(self, step: int, batch_index: int, digest: str) -> None:
        """Add a record, on the disk when this returns; a step that is not a later one is refused."""
        if step <= self._last_step:
            raise RunFolderError(
                "ledger",
                f"a record of step {step} after that of step {self._last_step}",
                "steps that ascend",
                "cut the ledger after the resumed step before going on",
            )
        line = _encode(Record(step, batch_index, digest), self._previous)
        self._lines.append(line)
        self._last_step, self._previous = step, bytes_digest(line)

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
    for number, line in enumerate(whole_lines(path), 1):
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


def _encode(record: Record, previous: str) -> bytes:
    return json.dumps({**asdict(record), "previous": previous}, sort_keys=True).encode()


def _decode(line: bytes, previous: str) -> Record | None:
    """The record of a line that follows the line with the digest `previous`, else None."""
    try:
        content: dict[str, Any] = json.loads(line)
        record = Record(content["step"], content["batch_index"], content["digest"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = isinstance(record.step, int) and line == _encode(record, previous)
    return record if whole else None
