"""Files that grow while a preparation runs, and are found again by one that goes on with it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from cllm.errors import DataError


def reopened(path: Path, n_bytes: int | None) -> BinaryIO:
    """A file to read and to append to: a new one, or the first `n_bytes` of the one that is there.

    Raises DataError where it is shorter.
    """
    if n_bytes is None:
        return path.open("w+b")
    file = path.open("r+b")
    if file.seek(0, 2) < n_bytes:
        file.close()
        came = f"{path} is shorter than the {n_bytes:,} bytes that were written"
        raise DataError("prepare", came, "the file as it was left", f"remove {path.parent}, and begin anew")
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
