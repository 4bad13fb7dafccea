"""What every thread of a run is doing, told on SIGUSR1: a hang is seen, not guessed at, and nothing is disturbed.

Python's own handlers run in the main thread alone, and there only between two instructions or where compiled code
asks: a thread that waits for ever asks nothing. So a thread of its own waits for the signal. It reads what the
executor's threads note of themselves, and the main thread's Python frames.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from cllm.recording import FOLD, IDLE, MEET, PACK

if TYPE_CHECKING:
    from cllm.engine import Engine

NUMBER: int | None = getattr(signal, "SIGUSR1", None)  # not every system has it
END = b"\0"  # no signal's number
WORDS = {PACK: "packs weights", FOLD: "merges gradients", MEET: "combines the gradients of all threads"}
PACKAGE = str(Path(__file__).parent)
MOST_FRAMES = 6
PATIENCE = 1.0  # seconds for a thread that has but to read a byte; one that does not ends with the process


class Watching:
    """While inside, SIGUSR1 has `tell` printed on standard error. Main thread only.

    Nothing is done where the program handles the signal itself, or has a use of its own for signals' wake-ups; nor
    where the system refuses a pipe or a thread: no run ends for want of it.
    """

    def __init__(self, tell: Callable[[], Iterator[str]]) -> None:
        self._tell = tell
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watching:
        in_main = threading.current_thread() is threading.main_thread()
        if NUMBER is None or not in_main or signal.getsignal(NUMBER) != signal.SIG_DFL:
            return self
        with suppress(OSError, RuntimeError):
            self._begin(NUMBER)
        return self

    def _begin(self, number: int) -> None:
        heard, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)
        thread = threading.Thread(target=self._listen, args=(heard,), name="cllm-watching", daemon=True)
        thread.start()
        before = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        if before == -1:
            signal.signal(number, _ignore)
            self._thread = thread
        else:
            signal.set_wakeup_fd(before)
            self._end(thread)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None or NUMBER is None:
            return
        signal.set_wakeup_fd(-1)
        signal.signal(NUMBER, signal.SIG_DFL)
        self._end(self._thread)
        self._thread = None

    def _end(self, thread: threading.Thread) -> None:
        """Closing the pipe would not do: a process that was forked meanwhile may have it, too."""
        with suppress(OSError):
            os.write(self._wakes, END)
            thread.join(PATIENCE)
            os.close(self._wakes)

    def _listen(self, heard: int) -> None:
        numbers = b""
        while END not in numbers:
            numbers = os.read(heard, 64) or END
            if NUMBER is not None and NUMBER in numbers:
                with suppress(OSError):  # standard error may be gone
                    os.write(2, "".join(f"cllm: {line}\n" for line in self._tell()).encode())
        os.close(heard)


def _ignore(number: int, frame: FrameType | None) -> None:
    """The signal's default would end the process."""


def told(step: int, n_steps: int, batch_index: int, engines: Sequence[Engine]) -> Iterator[str]:
    """The lines about a run: where it is, what the main thread does in Python, and each thread in compiled code."""
    yield f"step {step + 1} of {n_steps}, batch {batch_index}; in Python: {' < '.join(_frames())}"
    for engine in engines:
        lines = list(threads_of(engine))
        if any(not line.endswith("idle") for line in lines):
            yield from lines


def threads_of(engine: Engine) -> Iterator[str]:
    """A line for each of its threads."""
    n_ops = len(engine.program.ops)
    for number, record in enumerate(engine.workers):
        what, shard = int(record["doing"]), int(record["shard"])
        waiting = ", waits for the others of its team" if record["waits"] else ""
        if what == IDLE:
            yield f"thread {number}: idle"
        elif what < 0:
            yield f"thread {number}: {WORDS[what]}{waiting}"
        else:
            op = engine.program.ops[what if what < n_ops else 2 * n_ops - 1 - what]
            way = "forward" if what < n_ops else "backward"
            yield f"thread {number}: shard {shard}, {op.name} ({op.kind.name}) {way}{waiting}"


def _frames() -> list[str]:
    """The main thread's innermost functions of cllm and, before them, one that they have called."""
    frame: Any = sys._current_frames().get(threading.main_thread().ident or 0)
    found: list[str] = []
    while frame is not None and len(found) < MOST_FRAMES:
        path = Path(frame.f_code.co_filename)
        if not found or str(path).startswith(PACKAGE):
            found.append(f"{frame.f_code.co_name} ({path.name}:{frame.f_lineno})")
        frame = frame.f_back
    return found
