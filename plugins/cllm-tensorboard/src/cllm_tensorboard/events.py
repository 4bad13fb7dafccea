"""Event files as TensorBoard reads them: numbers and texts by step.

Of tensorboardX only its records and messages are used. Its SummaryWriter hands events to a thread of its own: where
that meets a full disk it ends, and the training loop would wait for it without end.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, time

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

VERSION = "brain.Event:2"  # of the format; TensorBoard drops what is taken back of files of this one alone
SECONDS = 5.0  # after which what was written is brought to the disk


class EventFile:
    """A new event file in a folder that it makes."""

    def __init__(self, folder: Path, step: int) -> None:
        """step: the first that will be told; what earlier files tell of it and of later ones is taken back. OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*tfevents*")))  # TensorBoard reads files by name: by time, then by number
        path = folder / f"events.out.tfevents.{int(time()):010d}.cllm.{number:04d}"
        self._records = RecordWriter(str(path.resolve()))  # a name that begins with s3: would be sent away
        self._flushed = monotonic()
        self._add(Event(wall_time=time(), step=step, file_version=VERSION))
        self._add(Event(wall_time=time(), step=step, session_log=SessionLog(status=SessionLog.START)))
        try:
            self._records.flush()
        except OSError:
            with suppress(OSError):
                self._records.close()
            raise

    def add_numbers(self, values: Mapping[str, float], step: int) -> None:
        """Add points to curves, by the curves' names. OSError."""
        message = summary.Summary()
        for name, value in values.items():
            message.value.add(tag=name, simple_value=value)
        self._add(Event(wall_time=time(), step=step, summary=message))

    def add_text(self, name: str, text: str, step: int) -> None:
        """Add a text, which TensorBoard shows as Markdown. OSError."""
        self._add(Event(wall_time=time(), step=step, summary=summary.text(name, text)))

    def close(self) -> None:
        """Bring everything to the disk. OSError."""
        try:
            self._records.flush()
        finally:
            self._records.close()

    def _add(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        if monotonic() - self._flushed > SECONDS:
            self._records.flush()
            self._flushed = monotonic()
