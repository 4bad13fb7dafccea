"""What is refused before it is read or allocated: files larger than any of their kind, jobs of too much memory.

Token files are mapped and texts are read piece by piece, so neither has a largest size. What is read whole has one.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from cllm.errors import MemoryLimitError
from cllm.machine import memory_limit

MIB = 1 << 20
LARGEST_CONFIG = MIB  # a config with every key that there is has 2 kB
LARGEST_JSON = 64 * MIB  # tokenizers of 250,000 tokens have 17 MB; as objects of Python they are ten times as large
LONGEST_LINE = 16 * MIB
SHARE = 0.8  # of the memory that a process may use; the rest is for what nobody counts

SMALLER = "make the model, the batch or the number of threads smaller"


def read_at_most(path: Path, most: int) -> bytes:
    """All bytes of a file; OSError (EMSGSIZE) where there are more than `most`, which are not read."""
    pieces: list[bytes] = []
    left = most + 1
    with path.open("rb") as file:
        while left and (piece := file.read(min(left, MIB))):  # read(n) makes room for n bytes, whatever comes
            pieces.append(piece)
            left -= len(piece)
    if not left:
        raise _too_large("it has", most, path)
    return b"".join(pieces)


def next_line(file: BinaryIO, path: Path) -> bytes:
    """The next line with its line end, b"" at the end of the file; OSError (EMSGSIZE) for one beyond LONGEST_LINE."""
    line = file.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE:
        raise _too_large("a line has", LONGEST_LINE, path)
    return line


def check_memory(estimate: Mapping[str, int], what: str, todo: str = SMALLER) -> None:
    """Refuse, before anything is allocated, what this machine may not give. Raises MemoryLimitError."""
    needed, limit = sum(estimate.values()), memory_limit()
    if needed > SHARE * limit:
        large = {purpose: size for purpose, size in estimate.items() if size > needed / 100}
        parts = ", ".join(f"{purpose} {size / 1e9:,.1f} GB" for purpose, size in large.items())
        raise MemoryLimitError(
            "memory", f"{what} need about {needed / 1e9:,.1f} GB ({parts})",
            f"at most {SHARE:.0%} of the {limit / 1e9:,.1f} GB that this process may use".replace("%", " %"),
            todo,
        )


def _too_large(what: str, most: int, path: Path) -> OSError:
    return OSError(errno.EMSGSIZE, f"{what} more than {most // MIB} MiB", str(path))
