"""Says which plugin is being waited for, where one is imported and does not come to an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cllm.hooks.calling import warn

SECONDS = 10.0  # after which somebody who waits should know for what


@contextmanager
def awaited(plugin: str, name: str) -> Iterator[None]:
    """While a plugin is taken in: after some time, and at Ctrl-C, a line on standard error names it.

    plugin: as errors name it; name: by which `-p no:NAME` leaves it out.
    """
    todo = f"Ctrl-C, and `-p no:{name}` leaves it out"
    timer = threading.Timer(SECONDS, warn, [f"{plugin} is still being imported, after {SECONDS:g} s; {todo}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        warn(f"interrupted while {plugin} was being imported; `-p no:{name}` leaves it out")
        raise
    finally:
        timer.cancel()
