"""A terminal's last line, which shows how far something is: by rich, where it is installed, with a bar before it."""

from __future__ import annotations

import importlib
import shutil
from typing import Any, Protocol, TextIO


class Screen(Protocol):
    """Somewhere on a terminal, or what stands in for it."""

    @property
    def is_terminal(self) -> bool:
        """Whether what is shown can be written over."""

    def show(self, text: str, share: float | None = None) -> None:
        """In place of what was shown last, on a terminal; share, 0 to 1: how much is done, None: nobody knows."""

    def stay(self, text: str) -> None:
        """A line that is not written over."""

    def close(self, keep: bool) -> None:
        """The end; keep: whether what was shown last stays to be read, if nothing that stays has come since."""


def screen_of(stream: TextIO) -> Screen:
    """The best for a stream."""
    return (_bar(stream) or Line(stream)) if stream.isatty() else Log(stream)


class Log:
    """A file or a pipe: lines that stay, and nothing else."""

    is_terminal = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, text: str, share: float | None = None) -> None: ...

    def stay(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self, keep: bool) -> None: ...


class Line:
    """Plain text, written over."""

    is_terminal = True

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._width = 0  # of the text that is written over next

    def show(self, text: str, share: float | None = None) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]  # what wraps could not be written over
        self._write(text, len(text))

    def stay(self, text: str) -> None:
        self._write(text, 0, "\n")

    def close(self, keep: bool) -> None:
        if self._width:
            self._write(*(("", 0, "\n") if keep else (" " * self._width, 0, "\r")))

    def _write(self, text: str, width: int, end: str = "") -> None:
        start = "\r" if self._width and text else ""
        self._stream.write(start + text.ljust(self._width if text else 0) + end)
        self._stream.flush()
        self._width = width


class Bar:
    """rich's bar and text; refreshed as it is told something, without a thread of its own."""

    is_terminal = True

    def __init__(self, stream: TextIO, console: Any, progress: Any) -> None:
        made = console.Console(file=stream)
        columns = (progress.BarColumn(bar_width=24), progress.TextColumn("{task.description}", markup=False))
        self._progress = progress.Progress(*columns, console=made, auto_refresh=False)
        self._task = self._progress.add_task("", total=None)
        self._begun = self._is_news = False  # whether it has been shown, and nothing that stays since then

    def show(self, text: str, share: float | None = None) -> None:
        if not self._begun:
            self._progress.start()
            self._begun = True
        self._is_news = True
        total, completed = (None, 0.0) if share is None else (1.0, share)
        self._progress.update(self._task, description=text, total=total, completed=completed)
        self._progress.refresh()

    def stay(self, text: str) -> None:
        self._is_news = False
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self, keep: bool) -> None:
        if not (keep and self._is_news):
            self._progress.update(self._task, visible=False)
        if self._begun:
            self._progress.stop()
            self._begun = False


def _bar(stream: TextIO) -> Bar | None:
    """None where rich is not installed, or the terminal can do no more than a printer."""
    try:
        console, progress = importlib.import_module("rich.console"), importlib.import_module("rich.progress")
    except ImportError:
        return None
    return None if console.Console(file=stream).is_dumb_terminal else Bar(stream, console, progress)
