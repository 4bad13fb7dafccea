"""What .gitignore files leave out of a source tree: the last pattern that matches says it, and a .gitignore further
down has the last word.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cllm.bounded import LARGEST_CONFIG, read_at_most
from cllm.data.globs import Glob, parse_glob
from cllm.data.utf8 import unreadable

FILE_NAME = ".gitignore"


class Patterns:
    """Lines as in a .gitignore, which lies in a folder: paths are those from there on."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._globs: list[Glob] = [glob for line in lines if (glob := parse_glob(line))]

    def match(self, path: Path, is_folder: bool) -> bool | None:
        """Whether a path is taken; None where no pattern says so or otherwise."""
        names = tuple(os.fsencode(part) for part in path.parts)
        return next((glob.ignores for glob in reversed(self._globs) if glob.match(names, is_folder)), None)


@dataclass(frozen=True)
class Rules:
    """The .gitignore files from the root of a repository down to a folder, each with the folder where it lies."""

    files: tuple[tuple[Path, Patterns], ...] = ()

    @classmethod
    def above(cls, folder: Path, who: str) -> Rules:
        """Those above `folder`, an absolute path, in the repository that it belongs to, if it belongs to one."""
        parents = [folder, *folder.parents]
        top = next((number for number, parent in enumerate(parents) if (parent / ".git").exists()), 0)
        rules = cls()
        for parent in reversed(parents[1 : top + 1]):
            rules = rules.within(parent, who)
        return rules

    def within(self, folder: Path, who: str) -> Rules:
        """With that of `folder`, if it has one. As git does, a link is no .gitignore. Raises DataError."""
        path = folder / FILE_NAME
        if path.is_symlink() or not path.is_file():
            return self
        try:
            content = read_at_most(path, LARGEST_CONFIG)
        except OSError as error:
            raise unreadable(path, who, error) from None
        lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        return Rules((*self.files, (folder, Patterns(line.removesuffix(b"\r") for line in lines))))

    def leaves_out(self, path: Path, is_folder: bool) -> bool:
        """Whether a path in the folder is left out, where its parents are not."""
        for folder, patterns in reversed(self.files):
            matched = patterns.match(path.relative_to(folder), is_folder)
            if matched is not None:
                return matched
        return False
