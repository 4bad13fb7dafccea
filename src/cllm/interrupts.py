"""Ctrl-C at a safe point: the first asks the run to end, and only a second one breaks in.

Python raises KeyboardInterrupt between any two instructions, also between an update and the counter that says it was
made; a state saved then would be neither the old one nor the new one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def first_interrupt_calls(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first SIGINT calls `stop`; the next one does what it did before. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
