"""Lets a preparation that was killed go on: a hidden folder beside the result, with what is done and a journal of it.

What counts is the text, not the files it comes from: it is read again up to where the journal stands, and compared by a
digest, before the work goes on from there. Tokenising, which takes most of the time, is not done again.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from time import monotonic

import msgspec

from cllm.atomic import write_file
from cllm.bounded import LARGEST_CONFIG, read_at_most
from cllm.data.spool import SpoolState
from cllm.errors import DataError, RunFolderError
from cllm.folderlock import FolderLock
from cllm.hooks.protocols import Document

EVERY_SECONDS = 5.0  # between two entries: what a kill costs at the most
PARTIAL = ".partial"
WHOLE, JOURNAL, LOCK = "whole", "journal.json", "lock"
VERSION = 1


class TextDigest:
    """Of documents with their borders, their answers and whether they are held out, piece by piece."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=32)
        self.n_pieces = 0

    def add(self, document: Document, held_out: bool) -> None:
        self.n_pieces += 1
        text = document.text.encode("utf-8", "surrogatepass")
        head = (held_out, document.continues, len(text), [tuple(span) for span in document.answers])
        self._hash.update(repr(head).encode())
        self._hash.update(text)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class Entry(msgspec.Struct, frozen=True):
    """How far a preparation has come."""

    version: int
    identity: str  # digest of all that decides the result besides the text
    learned: str = ""  # digest of the text that the tokenizer has learned from, which lies beside; "" if from none
    finished: list[str] = []  # digests of the texts of parts that are whole
    n_pieces: int = 0  # of the next part, as below
    text: str = ""  # their digest
    n_held_out: int | None = None  # documents; None as long as they are being read
    begin: int = 0  # token with which the last document begins
    spool: SpoolState = SpoolState()


class Work:
    """The hidden folder of one preparation, which one process has at a time."""

    def __init__(self, out: Path, identity: str) -> None:
        """Raises DataError where another process prepares `out`, and OSError."""
        self.folder = hidden_work(out)
        self._lock = _lock(self.folder)
        self._identity = identity
        self._told = monotonic()
        self.entry = _read(self.folder / JOURNAL)
        self.is_other = self.entry is not None and self.entry.identity != identity
        if self.entry is None or self.is_other:
            self.begin_anew()

    @property
    def is_kept(self) -> bool:
        """Whether there is something to go on with."""
        return self.entry is not None

    @property
    def is_due(self) -> bool:
        return monotonic() - self._told >= EVERY_SECONDS

    def begin_anew(self) -> None:
        """Remove all that is there but the lock."""
        self.entry = None
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
        (self.folder / WHOLE).mkdir()

    def keep(self, **state: object) -> None:
        """Write an entry: what it tells of is on the disk already. What is not given stays."""
        before = self.entry or Entry(VERSION, self._identity)
        self.entry = msgspec.structs.replace(before, **state)
        write_file(self.folder / JOURNAL, msgspec.json.encode(self.entry))
        self._told = monotonic()

    def remove(self) -> None:
        """The folder, journal and all; the lock last, under whose name another process waits."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def leave(self) -> None:
        """Let the next process go on."""
        self._lock.release()


def hidden_work(out: Path) -> Path:
    """The folder of what is to become `out`."""
    return out.with_name(f".{out.name}{PARTIAL}")


def is_hidden_work(folder: Path) -> bool:
    """Whether a folder is one of these, by its name."""
    return folder.name.startswith(".") and folder.name.endswith(PARTIAL)


def _lock(folder: Path) -> FolderLock:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FolderLock(folder / LOCK)
        except FileNotFoundError:  # removed in between by who had finished
            continue
        except RunFolderError as error:
            came, todo = error.came, "wait for that process to end, or choose another folder"
            raise DataError("prepare", came, "a folder that nobody else is preparing", todo) from None
        if lock.is_there:
            return lock
        lock.release()


def _read(path: Path) -> Entry | None:
    """The newest entry; None where there is none that can be read, or of another version."""
    try:
        entry = msgspec.json.decode(read_at_most(path, LARGEST_CONFIG), type=Entry)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return entry if entry.version == VERSION else None
