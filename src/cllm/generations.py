"""The generations of checkpoints in one folder: their names, how one is put in place, which ones go.

What is inside a generation is not known here: see checkpoint.py.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cllm import atomic

NAME = re.compile(r"step-(\d{8,})")
REPLACED = f"{atomic.TEMPORARY}replaced-"


def generations(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first; by name, nothing is read.

    Raises OSError for a folder that cannot be read: glob would find nothing in it, and a run would begin anew.
    """
    names = os.listdir(folder) if folder.is_dir() else []
    found = [folder / name for name in names if NAME.fullmatch(name) and (folder / name).is_dir()]
    return sorted(found, key=step_of, reverse=True)


def generation_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` stands."""
    return folder / f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step in the name of a generation."""
    return int(path.name.removeprefix("step-"))


@contextmanager
def new_generation(target: Path) -> Iterator[Path]:
    """A temporary folder to fill; at the end of the block it gets the name `target`, on an error it goes.

    A generation that stands at `target` already (a broken one, or there would be no new one) is set aside
    first, and put back if the new one cannot take its place.
    """
    temporary = atomic.temporary_beside(target)
    try:
        atomic.make_folder(temporary)
        yield temporary
        atomic.sync_folder(temporary)
        _replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove(path: Path) -> None:
    """Remove a generation; a kill half-way leaves a temporary folder, never half a generation."""
    doomed = atomic.temporary_beside(path)
    atomic.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def scheduled(step: int, every: int, keep: int) -> list[int]:
    """The last `keep` steps up to `step` at which checkpoints were due, oldest first; none where `every` is 0."""
    newest = step // every if every else 0
    return [every * n for n in range(max(1, newest - keep + 1), newest + 1)]


def expendable(
    newest: Path, losses: Mapping[Path, float | None], keep: int, keep_best: bool, every: int = 0
) -> list[Path]:
    """The generations that may go, now that `newest` stands.

    `losses` has the validation loss of every generation that verifies, `newest` among them. The newest `keep`
    of these stay, so do the newest `keep` scheduled ones (others come from interruptions), the one of step 0, and with
    `keep_best` the one of the smallest loss. Those that do not verify take no place from them, and go once they are
    older than the newest `keep`.
    """
    sound = sorted(losses, key=step_of, reverse=True)
    staying = {newest, *sound[: max(keep, 1)]}
    oldest = min(step_of(path) for path in staying)
    staying |= {generation_path(newest.parent, step) for step in (0, *scheduled(step_of(newest), every, keep))}
    if keep_best:
        staying |= set(_best(losses))
    return [
        path
        for path in generations(newest.parent)
        if path not in staying and (path in losses or step_of(path) < oldest)
    ]


def remove_temporaries(folder: Path) -> None:
    """Undo what a crash left in `folder`; only for the one process that trains there. Raises OSError."""
    for stray in folder.glob(f"{REPLACED}*"):
        original = folder / stray.name.removeprefix(REPLACED)
        if not original.exists():  # killed between the two renames: the old one is still the generation
            atomic.rename(stray, original)
    atomic.remove_temporaries(folder)


def _replace(temporary: Path, target: Path) -> None:
    if not target.exists():
        atomic.rename(temporary, target)
        return
    aside = target.with_name(f"{REPLACED}{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    atomic.rename(target, aside)
    try:
        atomic.rename(temporary, target)
    except BaseException:
        with suppress(OSError):
            atomic.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _best(losses: Mapping[Path, float | None]) -> list[Path]:
    """The generation of the smallest loss, the oldest among equals; empty if none has one."""
    finite = {path: loss for path, loss in losses.items() if loss is not None and math.isfinite(loss)}
    return [min(finite, key=lambda path: (finite[path], step_of(path)))] if finite else []
