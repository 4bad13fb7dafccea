"""A lock on a folder that one process holds and that vanishes with it, however it ends."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cllm.errors import RunFolderError


class FolderLock:
    """Holds `path`, a small file that names its holder, by flock until `release` or the end of the process.

    The file itself stays: removing it would let two processes hold locks on two files of one name.
    """

    def __init__(self, path: Path) -> None:
        """RunFolderError, naming the holder, if another process (or another part of this one) has it."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except BaseException as problem:
            holder = os.pread(self._descriptor, 200, 0).decode(errors="replace").strip()
            self.release()
            if isinstance(problem, BlockingIOError):
                raise _in_use(path, holder) from problem
            raise

    @property
    def is_there(self) -> bool:
        """Whether `path` is still the file that is held: whoever had it before may have removed the folder."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others have it; releasing twice is allowed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@dataclass(frozen=True)
class Holder:
    """Who wrote himself into a lock last."""

    process: int
    host: str
    is_there: bool | None  # whether he holds it still; None where that cannot be seen from this machine


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock `path`, or has held it last; None where nobody has.

    It is looked up and not tried: whoever tries a lock has it for a moment, in which a run that begins is refused.
    """
    with suppress(OSError):
        with path.open("rb") as file:
            text, lock = file.read(300).decode(errors="replace"), os.fstat(file.fileno())
        if said := re.fullmatch(r"process ([1-9][0-9]{0,8}) on (.*)\n", text):
            process, host = int(said[1]), said[2]
            return Holder(process, host, _has_open(process, lock) if host == socket.gethostname() else None)
    return None


def _has_open(process: int, lock: os.stat_result) -> bool:
    """Whether a process of this machine is there and, as far as the system tells, has this file open."""
    try:
        os.kill(process, 0)
        files = os.listdir(f"/proc/{process}/fd")
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system without /proc
        return True
    for name in files:
        with suppress(OSError):  # closed meanwhile
            if os.path.samestat(os.stat(f"/proc/{process}/fd/{name}"), lock):
                return True
    return False


def _in_use(path: Path, holder: str) -> RunFolderError:
    return RunFolderError(
        "run folder",
        f"{path.parent} is in use by {holder or 'another process'}",
        "a folder in which nobody trains",
        "wait for that process to end, or train into another folder",
    )
