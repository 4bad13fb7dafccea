"""Files that grow while a preparation runs, and are found again by one that goes on with it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


class Changed(Exception):
    """What is there, or the text, is not what the journal of a preparation tells of: it has to begin anew."""


def check_there(path: Path, n_bytes: int) -> None:
    """Raises Changed where the file has not so many bytes."""
    if not path.is_file() or path.stat().st_size < n_bytes:
        raise Changed(f"{path} is not as it was left")


def reopened(path: Path, n_bytes: int | None) -> BinaryIO:
    """A file to read and to append to: a new one, or the first `n_bytes` of the one that is there."""
    if n_bytes is None:
        return path.open("w+b")
    file = path.open("r+b")
    file.truncate(n_bytes)
    file.seek(n_bytes)
    return file


def flush(file: BinaryIO) -> None:
    """To the disk, not to the system alone: a journal that tells of it must not be there before it."""
    file.flush()
    os.fsync(file.fileno())


def close(file: BinaryIO, remove: bool) -> None:
    with suppress(OSError):  # a full disk has been reported by then
        file.close()
    if remove:
        Path(file.name).unlink(missing_ok=True)
