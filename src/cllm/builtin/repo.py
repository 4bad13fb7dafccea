"""The `repo` loader: the text files of source trees, without what .gitignore leaves out; each is one document.

The same tree gives the same text everywhere: files come in the order of their paths, links are not followed, and
nothing outside the tree counts, such as a user's own list of what git shall ignore.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from cllm.atomic import TEMPORARY
from cllm.data.ignored import Patterns, Rules
from cllm.data.journal import is_hidden_work
from cllm.data.template import Template
from cllm.data.utf8 import unreadable
from cllm.errors import DataError
from cllm.hooks.protocols import Document

WHO = "repo"
_NEVER = (".git", ".hg", ".svn")

Bytes = Annotated[int, msgspec.Meta(ge=1, le=64 << 20, description="a whole number, 1 to 67108864")]


class RepoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """source: the folder of a source tree, or several

    include: patterns as in a .gitignore, such as "*.py"; left out, all files
    exclude: patterns of what is left out besides what .gitignore leaves out
    max_bytes: larger files are left out
    header: a line before each file, as in "# {path}"; left out, there is none
    not_utf8: leave out files that are not UTF-8 text, or refuse them; those with a zero byte are left out in any case
    """

    source: str | list[str]
    include: list[str] = []
    exclude: list[str] = []
    max_bytes: Bytes = 1 << 20
    header: str | None = None
    not_utf8: Literal["skip", "refuse"] = "skip"

    def __post_init__(self) -> None:
        if set(_header(self).fields) - {"path"}:
            raise ValueError(f"header = {self.header!r} has another name in braces than path")


class RepoDataset:
    """The text files of source trees as documents; those of a tree in the order of their paths.

    Left out: .git, .hg and .svn, links, empty and large files, what .gitignore files of the tree or above it in the
    same repository say, and what cllm itself writes.
    """

    def __init__(self, config: RepoConfig) -> None:
        self._sources = [config.source] if isinstance(config.source, str) else config.source
        self._include = Patterns(map(os.fsencode, config.include))
        self._exclude = Patterns(map(os.fsencode, config.exclude))
        self._config = config
        self._header = _header(config)

    def documents(self) -> Iterator[Document]:
        """Yield each file's text. Raises DataError for a tree that is missing or cannot be read, or has no text."""
        try:
            yield from self._documents()
        except OSError as error:
            raise unreadable(Path(error.filename or "."), WHO, error) from None

    def _documents(self) -> Iterator[Document]:
        found = False
        for source in self._sources:
            root = _root(source)
            for file in self._files(root, Rules.above(root, WHO)):
                if text := self._text(file):
                    found = True
                    yield Document(self._headline(file, root) + text, str(file))
        if not found:
            came = f"no text files in {', '.join(self._sources) or 'no source'}"
            raise DataError(WHO, came, "a source tree with text", "see .gitignore, include and exclude")

    def _files(self, root: Path, rules: Rules) -> Iterator[Path]:
        """Depth first. The stack is our own, for Python's ends at a thousand folders, each in the last."""
        stack = [self._entries(root, root, rules)]
        while stack:
            path, within = next(stack[-1], (None, None))
            if path is None:
                stack.pop()
            elif within is None:
                yield path
            else:
                stack.append(self._entries(path, root, within))

    def _entries(self, folder: Path, root: Path, rules: Rules) -> Iterator[tuple[Path, Rules | None]]:
        """What a folder has that is not left out, in order: files, and folders with the rules that count there."""
        rules = rules.within(folder, WHO)
        for entry in sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name)):
            path, is_folder = folder / entry.name, entry.is_dir(follow_symlinks=False)
            if rules.leaves_out(path, is_folder) or self._exclude.match(path.relative_to(root), is_folder):
                continue
            if is_folder and not _is_foreign(path):
                yield path, rules
            # What is neither is a link, a pipe or the like.
            elif entry.is_file(follow_symlinks=False) and self._takes(path.relative_to(root), entry.stat().st_size):
                yield path, None

    def _takes(self, path: Path, n_bytes: int) -> bool:
        """Whether a file is small enough, and a pattern of `include`, if there are any, takes it or a folder above."""
        if n_bytes > self._config.max_bytes or not self._config.include:
            return n_bytes <= self._config.max_bytes
        found = (self._include.match(one, is_folder=one is not path) for one in (path, *path.parents[:-1]))
        return bool(next((matched for matched in found if matched is not None), False))

    def _text(self, file: Path) -> str:
        """The text of a file, all of it, for it is no larger than max_bytes; nothing of one that is not text."""
        content = file.read_bytes()
        if 0 in content:
            return ""
        try:
            return content.decode().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            if self._config.not_utf8 == "skip":
                return ""
            byte = content[error.start]
            came = f"{file}: at byte {error.start:,} it is not UTF-8 (byte 0x{byte:02x}: {error.reason})"
            todo = 'convert it to UTF-8, leave it out by exclude, or all such files by not_utf8 = "skip"'
            raise DataError(WHO, came, "UTF-8 text", todo) from None

    def _headline(self, file: Path, root: Path) -> str:
        if self._config.header is None:
            return ""
        try:
            path = os.fsencode(file.relative_to(root).as_posix()).decode()
        except UnicodeDecodeError:
            raise DataError(WHO, f"the name of {file}", "a path in UTF-8", "rename it, or leave it out") from None
        return self._header.fill(lambda _: path) + "\n"


def _root(source: str) -> Path:
    try:
        root = Path(source).expanduser().resolve(strict=True)
    except RuntimeError:  # what Python before 3.13 says of links in a circle
        raise unreadable(Path(source), WHO, OSError(errno.ELOOP, os.strerror(errno.ELOOP))) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in its name
        raise unreadable(Path(source), WHO, error) from None
    if not root.is_dir():
        raise DataError(WHO, f"{source} is no folder", "the folder of a source tree", "name it, or use the loader text")
    return root


def _header(config: RepoConfig) -> Template:
    return Template.parse(config.header or "")


def _is_foreign(folder: Path) -> bool:
    """Whether a folder is no source: another program's history, or data or a run of cllm's, maybe half written."""
    made = folder.name in _NEVER or folder.name.startswith(TEMPORARY) or is_hidden_work(folder)
    ours = ("train.tokens", "part-1/train.tokens", "ledger.jsonl")
    return made or any((folder / name).is_file() for name in ours)
