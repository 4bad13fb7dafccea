"""A folder that is whole or not there: written under another name beside its place, and renamed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cllm.atomic import disk_errors, rename, sync_folder, temporary_beside
from cllm.errors import CllmError


@contextmanager
def new_folder(out: Path, error: type[CllmError], who: str) -> Iterator[Path]:
    """A temporary folder that becomes `out`, absent or empty so far, when the block ends well.

    Raises `error`, by `who`, where `out` is in use or cannot be written.
    """
    temporary = temporary_beside(out)
    try:
        with disk_errors(error, who, out):
            refuse_used(out, error, who)
            temporary.mkdir(parents=True)
            yield temporary
            sync_folder(temporary)
            rename(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_used(out: Path, error: type[CllmError], who: str) -> None:
    """Raise `error`, by `who`, unless `out` is absent or an empty folder."""
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        todo = "choose another, or remove it first"
        raise error(who, f"{out} is there already", "a new or empty folder", todo)
