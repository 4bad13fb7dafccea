"""Something goes wrong at each of the calls of a save in turn; run by test_calls.py in a process of its own.

    python -m tests.durability.calls states|run FOLDER
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.durability.disturbed import DIED, MET, REFUSED, Disturbance, Run, States

# What a save asks of the system through Python's os; all system calls are met by traced.py, where there is strace.
CALLS = ("open", "write", "fsync", "close", "rename", "mkdir", "unlink", "rmdir")
WRITE = os.write


def kill(call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """At once, or in the middle of a write."""
    if call is WRITE:
        call(arguments[0], arguments[1][: len(arguments[1]) // 2])
    os._exit(DIED)


def full(call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken(call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def lie(call: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    """Write half of it and claim to have written all."""
    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
    return len(arguments[1])


FAULTS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "kill": (kill, CALLS),
    "ENOSPC": (full, ("open", "write", "mkdir", "rename")),
    "EIO": (broken, CALLS),
    "lie": (lie, ("write",)),
}


def meeting(fault: str, number: int) -> Disturbance:
    """What makes call number `number` meet the fault."""
    go_wrong, names = FAULTS[fault]
    countdown = itertools.count(number - 1, -1)
    met: list[int] = []

    def disturbed(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if next(countdown) == 0:
                met.append(1)
                return go_wrong(call, arguments)
            return call(*arguments, **options)

        return wrapped

    def disturb() -> Callable[[], bool]:
        for name in names:
            setattr(os, name, disturbed(getattr(os, name)))
        return lambda: bool(met)

    return disturb


def main(subject: str, folder: Path) -> None:
    """Prints at how many calls each fault was met; AssertionError at the first that something is lost by."""
    run = {"states": States, "run": Run}[subject](folder)
    counts: dict[str, int] = {}
    for fault, in_its_way in [*((fault, False) for fault in FAULTS), ("kill", True)]:
        for number in itertools.count(1):
            run.begin(in_its_way)
            code = run.step(meeting(fault, number))
            if code == 0:
                break
            assert code in (DIED, REFUSED, MET), f"{fault} at call {number}: exit code {code}"
            try:
                run.refuse_losses()
            except AssertionError as error:
                raise AssertionError(f"{fault} at call {number}, exit code {code}") from error
        counts[fault + " in place of a broken one" * in_its_way] = number - 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
