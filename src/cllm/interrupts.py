"""Ctrl-C and SIGTERM at a safe point: the first asks the run to end, which saves it; only the third breaks in.

Python raises KeyboardInterrupt between any two instructions, also between an update and the counter that says it was
made; a state saved then would be neither the old one nor the new one. And an impatient second Ctrl-C would lose what
the first one saves.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

HELD_BACK = b"\ncllm: the last finished state is saved first; once more ends at once, without it\n"


class Terminated(SystemExit):
    """SIGTERM, after the run was saved: ends the process with exit code 143, as shells report it, and no traceback."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Interrupts:
    """While inside, the first SIGINT or SIGTERM calls `stop`, the second is told to wait. Main thread only.

    The third does what it did before.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._first: int | None = None
        self._before: dict[int, Any] = {}

    def ending(self) -> BaseException:
        """What goes on upward when the run has ended as it was asked."""
        return Terminated() if self._first == signal.SIGTERM else KeyboardInterrupt()

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if _may_be_taken(number, handler):
                    self._before[number] = handler
                    signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first is None:
            self._first = number
            self._stop()
            return
        self._give_back()
        with suppress(OSError):
            os.write(2, HELD_BACK)  # not print: the signal may have come in the middle of one

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _may_be_taken(number: int, handler: Any) -> bool:
    """A signal that is ignored stays so: whoever began the run with nohup or in the background meant that.

    Nor is a handler taken away that is not Python's (None), for it could not be put back, nor one for SIGTERM that the
    program has made itself.
    """
    if number == signal.SIGTERM:
        return bool(handler == signal.SIG_DFL)
    return handler not in (signal.SIG_IGN, None)
