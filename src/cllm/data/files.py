"""The files that a loader's `source` names: files, folders and globs, in an order that is the same everywhere."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cllm.data.utf8 import read_utf8, unreadable
from cllm.errors import DataError
from cllm.hooks.protocols import Document


class Sources:
    """What `source` of a loader names. A file that is named twice is read once."""

    def __init__(self, source: str | list[str], who: str, suffixes: tuple[str, ...] = ()) -> None:
        """who: the loader, for messages. suffixes: of the files that a folder brings along; empty: of all."""
        self._sources = [source] if isinstance(source, str) else source
        self._who = who
        self._suffixes = suffixes

    def __str__(self) -> str:
        return ", ".join(self._sources)

    def files(self) -> list[Path]:
        """The files in order: sources as given, those of a folder or glob in natural order (2 before 10).

        Raises DataError where a source names none.
        """
        if not self._sources:
            raise self._refuse("no source", "a file, a folder or a glob", "set source")
        return list(dict.fromkeys(file for source in self._sources for file in self._files_of(source)))

    def names(self, path: Path) -> bool:
        """Whether a source is this very file, which then must have text."""
        return path in {Path(source).expanduser() for source in self._sources}

    def _files_of(self, source: str) -> list[Path]:
        path = Path(source).expanduser()
        try:
            if path.is_dir():
                found = self._below(path)
            elif path.exists() or not glob.has_magic(source):
                return [path]  # where it does not exist, reading it says so
            else:
                found = [match for match in glob.iglob(str(path), recursive=True) if Path(match).is_file()]
        except (OSError, ValueError) as error:  # a name that no file can have
            raise unreadable(path, self._who, error) from None
        if not found:
            kind = f" named *{' or *'.join(self._suffixes)}" if self._suffixes and path.is_dir() else ""
            expected = "a file, a folder with files or a glob that matches some"
            raise self._refuse(f"no files{kind} in {source}", expected, "check the path")
        return [Path(name) for name in sorted(found, key=natural_key)]

    def _below(self, folder: Path) -> list[str]:
        def refuse(error: OSError) -> None:
            raise unreadable(Path(error.filename or folder), self._who, error)

        found: list[str] = []
        for parent, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            wanted = [name for name in names if not name.startswith(".") and self._has_suffix(name)]
            paths = [os.path.join(parent, name) for name in wanted]
            # A pipe would let the reader wait for ever. A broken link is told of when it is read.
            found += [path for path in paths if os.path.isfile(path) or not os.path.exists(path)]
        return found

    def _has_suffix(self, name: str) -> bool:
        return not self._suffixes or name.lower().endswith(self._suffixes)

    def _refuse(self, came: str, expected: str, todo: str) -> DataError:
        return DataError(self._who, came, expected, todo)


class WholeFiles:
    """Files as documents: a class of a loader says by `pieces` what of a file is its text.

    Empty files that a folder or glob brings along are passed over; one that is named must have text.
    """

    def __init__(self, sources: Sources, who: str) -> None:
        self._sources = sources
        self._who = who

    def files(self) -> list[Path]:
        """The files that decide the text, in order. Raises DataError where a source names none."""
        return self._sources.files()

    def documents(self) -> Iterator[Document]:
        """Yield each file's text, a large one in pieces.

        Raises DataError, with file and byte offset, for files that are missing, binary, not UTF-8 or empty.
        """
        found = False
        for path in self.files():
            offset = 0
            for text in self.pieces(path):
                yield Document(text, str(path), offset, continues=offset > 0)
                offset += len(text)
            found = found or offset > 0
            if not offset and self._sources.names(path):
                raise DataError(self._who, f"{path} is empty", "a file with text", "name another file")
        if not found:
            came = f"nothing but empty files in {self._sources}"
            raise DataError(self._who, came, "text", "name another source")

    def pieces(self, path: Path) -> Iterator[str]:
        """The text of a file, piece by piece, none of them empty."""
        return read_utf8(path, self._who)


def natural_key(path: str) -> tuple[list[str | int], str]:
    """The sort key under which file2 stands before file10, and 01 before 1."""
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", path)], path
