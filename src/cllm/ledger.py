"""The ledger of a run: digests of its state every N steps, and what checks decided, each record chained to the last.

Two runs did the same if their ledgers are equal, byte for byte; so nothing stands in it that another machine,
another thread count or an interruption would change. Two lines:

    {"batch_index": 0, "chain": "...", "event": "start", "plugins": {"builtin": "0.1.0"}, "step": 0}
    {"batch_index": 99, "chain": "...", "decisions": {"clip": 7}, "digest": "...", "step": 99}
    {"batch_index": 100, "chain": "...", "event": "skip", "reasons": ["spike: ..."], "step": 99}

`start` comes again where a resumed run has other plugins, or other versions of them. `fast` says that from there on so
many "ranks" add up gradients without the tree: what follows depends on their number. `decisions` counts those so far,
clipped updates among them, which have no line of their own. `chain` is the digest of the chain of the line before, or
of nothing, and of this record without it: so it covers the last line as well.
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

START = "start"


@dataclass(frozen=True)
class Record:
    """After `step` updates and `batch_index` batches the state had this digest (numerics rule 9), or this happened."""

    step: int
    batch_index: int
    digest: str | None = None
    event: str | None = None  # as a report's decision; "lower_lr" where it is an update
    more: Mapping[str, Any] = field(default_factory=dict)  # "decisions" beside a digest, "reasons" beside a decision


class Ledger:
    """Appends records to a ledger that is read and found whole first."""

    def __init__(self, path: Path) -> None:
        """Open or make the ledger; RunFolderError if its chain is broken or it cannot be written."""
        records, self._chain = _read(path)
        # Durable: a checkpoint that survives a power cut must find the records of the steps before it.
        self._lines = LineWriter(path, durable=True)
        self._last = records[-1].batch_index if records else -1
        self._plugins = [record.more.get("plugins") for record in records if record.event == START][-1:]

    def begin(self, step: int, batch_index: int, plugins: Mapping[str, str]) -> None:
        """Say whose code runs, versions by name, unless that is what the ledger says last."""
        if self._plugins != [plugins]:
            self.append(Record(step, batch_index, event=START, more={"plugins": plugins}))

    def append(self, record: Record) -> None:
        """Add a record, on the disk when this returns; one of an earlier batch than the last is refused."""
        if record.batch_index < self._last:
            raise RunFolderError(
                "ledger",
                f"a record after {record.batch_index} batches, behind one after {self._last}",
                "batches that ascend",
                "cut the ledger after the resumed batch before going on",
            )
        line, chain = _encode(record, self._chain)
        self._lines.append(line)
        self._last, self._chain = record.batch_index, chain

    def close(self) -> None:
        """Give the file back."""
        self._lines.close()


def read(path: Path) -> list[Record]:
    """The records of a ledger, none if there is no file; RunFolderError, naming the line, for a broken chain.

    A torn last line, as a kill leaves it, is dropped.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Record], str]:
    """The records, and the chain of the last line."""
    records: list[Record] = []
    chain = ""
    for number, line in enumerate(_lines(path), 1):
        record = _decode(line)
        expected, chain = _encode(record, chain) if record else (b"", "")
        if record is None or line != expected:
            raise RunFolderError(
                "ledger",
                f"line {number} of {path} is not what was written after line {number - 1}",
                "an unaltered ledger",
                "restore it from a backup, or move it away to start a new one",
            )
        records.append(record)
    return records, chain


def _lines(path: Path) -> Iterator[bytes]:
    with disk_errors(RunFolderError, "ledger", path):
        yield from whole_lines(path)


def _encode(record: Record, before: str) -> tuple[bytes, str]:
    """The line of a record after one with the chain `before`, and its own chain."""
    content = {"step": record.step, "batch_index": record.batch_index, **record.more}
    if record.digest is not None:
        content["digest"] = record.digest
    if record.event is not None:
        content["event"] = record.event
    chain = bytes_digest(before.encode() + json.dumps(content, sort_keys=True).encode())
    return json.dumps({**content, "chain": chain}, sort_keys=True).encode(), chain


def _decode(line: bytes) -> Record | None:
    """The record of a line, or None where it is none."""
    try:
        content: dict[str, Any] = json.loads(line)
        own = {key: content.pop(key, None) for key in ("step", "batch_index", "digest", "event")}
        content.pop("chain", None)
        record = Record(**own, more=content)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return record if isinstance(record.step, int) and isinstance(record.batch_index, int) else None
