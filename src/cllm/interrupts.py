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
    """While inside, the first SIGINT calls `stop`; the next one does what it did before. Main thread only.

    A SIGINT that is ignored stays so: whoever began the run with nohup or in the background meant that. Nor is a
    handler taken away that is not Python's (None), for it could not be put back.
    """
    before: Any = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before in (signal.SIG_IGN, None):
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
