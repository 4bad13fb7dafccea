"""Reads a run's metrics.jsonl, and what has been added to it since: a run that goes on is not read again and again.

A line that is none is passed over; a torn last line waits for its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from cllm.atomic import disk_errors
from cllm.bounded import next_line
from cllm.errors import RunFolderError
from cllm.reporting.history import History, Line


class Follower:
    """A file of reports, read as far as it goes; nothing of it is held open in between."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Line)
        self._begin()

    def history(self) -> History:
        """All that the file tells by now, the same History as long as it only grows; nothing where there is no file.

        RunFolderError where the system refuses.
        """
        with disk_errors(RunFolderError, "report", self.path):
            try:
                file = self.path.open("rb")
            except FileNotFoundError:
                self._begin()
                return self._history
            with file:
                if not self._has_grown(file):
                    self._begin()
                file.seek(self._end)
                while (line := next_line(file, self.path)).endswith(b"\n"):
                    self._take(line)
        return self._history

    def _begin(self) -> None:
        self._history, self._end, self._last = History(), 0, b""

    def _has_grown(self, file: BinaryIO) -> bool:
        """Whether the line that was read last still stands there: a run that is resumed cuts off what it does again.

        Reports tell times, so those of a step that is made twice are not the same.
        """
        file.seek(self._end - len(self._last))
        return file.read(len(self._last)) == self._last

    def _take(self, line: bytes) -> None:
        self._end += len(line)
        self._last = line
        try:
            report = self._decoder.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
        self._history.add(report)
