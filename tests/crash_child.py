"""Processes that are killed while they save, for test_crash.py; not a test itself.

python -m tests.crash_child loop FOLDER         saves state after state until it is killed
python -m tests.crash_child enumerate FOLDER    dies at each system call of a save in turn, looks what is left
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cllm import generations
from cllm.checkpoint import load_newest, save
from tests.saving import FACTS, state_at

CALLS = ("write", "fsync", "rename", "mkdir", "unlink", "rmdir")
DIED = 9


def loop(folder: Path) -> None:
    """Go on from what is there, as a resumed run does."""
    generations.remove_temporaries(folder)
    newest = load_newest(folder)
    first = newest.snapshot.step + 1 if newest else 1
    print("ready", flush=True)
    for step in itertools.count(first):
        save(folder, state_at(step), FACTS)


def enumerate_calls(folder: Path) -> None:
    """Print at how many calls a save of step 4 was killed, with a broken step 4 in its way and without."""
    template = folder / "template"
    template.mkdir()
    for step in (1, 2, 3):
        save(template, state_at(step), FACTS)
    print(kill_at_every_call(folder, template))
    save(template, state_at(4), FACTS, keep=4)
    (template / "step-00000004" / "config.json").write_bytes(b"{}")
    print(kill_at_every_call(folder, template))


def kill_at_every_call(folder: Path, template: Path) -> int:
    for number in itertools.count(1):
        runs = folder / "checkpoints"
        shutil.rmtree(runs, ignore_errors=True)
        shutil.copytree(template, runs)
        finished = save_and_die_at(runs, number)
        step = look(runs)
        generations.remove_temporaries(runs)
        assert look(runs) == step, "cleaning up changed what is found"
        assert not list(runs.glob(".*")), "a temporary folder survived"
        if finished:
            assert step == 4
            return number - 1
    raise AssertionError


def save_and_die_at(folder: Path, number: int) -> bool:
    """Save step 4 in a child that dies at its call number `number`; True if it ended before."""
    child = os.fork()
    if child == 0:
        countdown = itertools.count(number - 1, -1)
        for name in CALLS:
            setattr(os, name, dying(getattr(os, name), countdown))
        save(folder, state_at(4), FACTS)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def dying(call: Callable[..., Any], countdown: itertools.count[int]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if next(countdown) == 0:
            if call is WRITE:  # a kill may also come in the middle of a write
                call(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os._exit(DIED)
        return call(*arguments, **options)

    return wrapped


def look(folder: Path) -> int:
    """The step that a resume would find, which must be whole: that of step 3 or 4."""
    newest = load_newest(folder)
    assert newest is not None
    step = newest.snapshot.step
    assert step in (3, 4)
    assert newest.digest == state_at(step).digest()
    return step


WRITE = os.write

if __name__ == "__main__":
    {"loop": loop, "enumerate": enumerate_calls}[sys.argv[1]](Path(sys.argv[2]))
