"""Writing files so that a reader finds the old bytes or the new ones, never a mixture, whenever it is killed.

The order is: write beside the target, fsync, read back and compare, rename, fsync the folder. The comparison
stands before the rename because a write that was short and said otherwise has passed through write, fsync and
rename and replaced a good file by a broken one. A failed fsync is never tried again: the kernel may have
dropped the pages that it could not write, and the second call would report success.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cllm.digest import DIGEST_BYTES, file_digest
from cllm.errors import CllmError

Buffer = bytes | memoryview

# Names that begin so belong to a save under way or, after a crash, to nobody: see remove_temporaries.
TEMPORARY = ".tmp-"
PIECE_BYTES = 1 << 24  # Linux writes at most 2 GiB a call

REMEDIES = {
    errno.ENOSPC: ("a disk with room", "free some space, or write to another disk"),
    errno.EDQUOT: ("room within your quota", "free some space, or write to another disk"),
    errno.EFBIG: ("leave to write such a file", "raise the limit (ulimit -f), or write to another disk"),
    errno.EROFS: ("a file system that can be written", "write to another folder, or mount it read-write"),
    errno.EACCES: ("permission to read and write there", "change its permissions, or write to another folder"),
    errno.EPERM: ("permission to read and write there", "change its permissions, or write to another folder"),
    errno.EIO: ("a disk that keeps what it is given", "check the disk (dmesg), or write to another one"),
    errno.EMSGSIZE: ("a file as small as others of its kind", "check that it is the file that you mean"),
    errno.EISDIR: ("a file", "choose another path, or rename what is there"),
    errno.ENOTDIR: ("a folder", "choose another path"),
    errno.EEXIST: ("a folder, or nothing of that name", "choose another path, or rename what is there"),
    errno.ENOENT: ("a path that is there", "check the path"),
}


@contextmanager
def disk_errors(error: type[CllmError], who: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into `error`, which names the file, the system's reason and a remedy."""
    try:
        yield
    except OSError as problem:
        expected, todo = REMEDIES.get(
            problem.errno or 0, ("a file system that takes it", "see the system's message for the cause")
        )
        is_temporary = os.path.basename(str(problem.filename)).startswith(TEMPORARY)  # a name that nobody knows
        named = path if is_temporary else problem.filename or path
        came = f"cannot use {named}: {problem.strerror or problem}"
        raise error(who, came, expected, todo) from problem


def write_verified(path: Path, parts: Iterable[Buffer]) -> str:
    """Write a new file from `parts`, fsync it, read it back, and return its digest.

    Raises OSError: FileExistsError if `path` is there, and EIO if the disk does not hold what was written.
    The file stays behind after an error: the caller removes it together with what it belongs to.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        for piece in _pieces(parts):
            digest.update(piece)
            _write_all(descriptor, piece)
        os.fsync(descriptor)
        _forget_cached(descriptor)
    except OSError as problem:
        raise _named(problem, path) from problem
    finally:
        os.close(descriptor)
    check_digest(path, digest.hexdigest())
    return digest.hexdigest()


def check_digest(path: Path, expected: str) -> None:
    """Read `path` again; an OSError (EIO) if its bytes are not those of the digest `expected`."""
    if file_digest(path) != expected:
        raise OSError(errno.EIO, "what was read back is not what was written", str(path))


def write_file(path: Path, data: bytes) -> str:
    """Replace `path` by `data` in one step; the digest, or an OSError that leaves the old file as it was."""
    temporary = temporary_beside(path)
    try:
        digest = write_verified(temporary, [data])
        rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return digest


def temporary_beside(path: Path) -> Path:
    """A name in the same folder (a rename must not cross file systems) that no other process uses."""
    return path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def rename(source: Path, target: Path) -> None:
    """Rename, and make it last: after a power cut the folder holds `target`."""
    os.rename(source, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """fsync a folder: until then a new name in it may vanish in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        raise _named(problem, folder) from problem
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make one folder, which must not exist, and make it last."""
    os.mkdir(folder)
    sync_folder(folder.parent)


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process left in `folder`; only for the one process that may write there."""
    for entry in list(folder.glob(f"{TEMPORARY}*")):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.unlink(missing_ok=True)


def _named(problem: OSError, path: Path) -> OSError:
    """Calls on descriptors do not say which file they were about."""
    return problem if problem.filename else OSError(problem.errno, problem.strerror, str(path))


def _pieces(parts: Iterable[Buffer]) -> Iterator[memoryview]:
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]


def _write_all(descriptor: int, piece: memoryview) -> None:
    while len(piece):
        piece = piece[os.write(descriptor, piece) :]


def _forget_cached(descriptor: int) -> None:
    """Ask the kernel to drop its copy, so that reading back asks the disk; else the copy is compared."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
