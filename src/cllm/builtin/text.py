"""The `text` loader: UTF-8 text files, folders and globs; each file is one document."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cllm.data.utf8 import read_utf8, unreadable
from cllm.errors import DataError
from cllm.hooks.protocols import Document


class TextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """source: a file, a folder (all its files at any depth, but hidden ones), a glob, or several of them."""

    source: str | list[str]


class TextDataset:
    """Text files as documents: sources as given, the files of a folder or glob in natural order (2 before 10).

    A file that is named twice is read once. Line ends stay as they are; a byte order mark is left out.
    """

    def __init__(self, config: TextConfig) -> None:
        self._sources = [config.source] if isinstance(config.source, str) else config.source

    def files(self) -> list[Path]:
        """The files that decide the text, in order. Raises DataError where a source names none."""
        if not self._sources:
            raise _refuse("no source", "a file, a folder or a glob", "set source")
        return list(dict.fromkeys(file for source in self._sources for file in _files_of(source)))

    def documents(self) -> Iterator[Document]:
        """Yield each file's text, a large one in pieces.

        A file that is named must have text; empty files that a folder or glob brings along are passed
        over. Raises DataError, with file and byte offset, for files that are missing, binary, not UTF-8
        or empty.
        """
        found = False
        named = {Path(source).expanduser() for source in self._sources}
        for path in self.files():
            offset = 0
            for text in read_utf8(path, "text"):
                yield Document(text, str(path), offset, continues=offset > 0)
                offset += len(text)
            found = found or offset > 0
            if not offset and path in named:
                raise _refuse(f"{path} is empty", "a file with text", "name another file")
        if not found:
            raise _refuse(f"nothing but empty files in {', '.join(self._sources)}", "text", "name another source")


def natural_key(path: str) -> tuple[list[str | int], str]:
    """The sort key under which file2 stands before file10, and 01 before 1."""
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", path)], path


def _files_of(source: str) -> list[Path]:
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            found = _files_below(path)
        elif path.exists() or not glob.has_magic(source):
            return [path]  # where it does not exist, reading it says so
        else:
            found = [match for match in glob.iglob(str(path), recursive=True) if Path(match).is_file()]
    except (OSError, ValueError) as error:  # a name that no file can have
        raise unreadable(path, "text", error) from None
    if not found:
        raise _refuse(
            f"no files in {source}",
            "a file, a folder with files or a glob that matches some",
            "check the path",
        )
    return [Path(name) for name in sorted(found, key=natural_key)]


def _files_below(folder: Path) -> list[str]:
    def refuse(error: OSError) -> None:
        raise unreadable(Path(error.filename or folder), "text", error)

    found: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [os.path.join(parent, name) for name in names if not name.startswith(".")]
        # A pipe would let the reader wait for ever. A broken link is told of when it is read.
        found += [path for path in paths if os.path.isfile(path) or not os.path.exists(path)]
    return found


def _refuse(came: str, expected: str, todo: str) -> DataError:
    return DataError(who="text", came=came, expected=expected, todo=todo)
