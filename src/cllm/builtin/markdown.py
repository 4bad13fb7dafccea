"""The `markdown` loader: Markdown files, folders and globs; each file is one document, without its front matter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cllm.data.files import Sources, WholeFiles
from cllm.data.utf8 import read_utf8

WHO = "markdown"
SUFFIXES = (".md", ".markdown")

# From a line --- at the very beginning to the next, and the blank lines behind it. It is looked for in the first piece
# that is read, of 1 MiB: one that does not end there is text.
_BEGIN = re.compile(r"---[ \t]*\r?\n")
_END = re.compile(r"^---[ \t]*(?:\r?\n|\Z)(?:[ \t]*\r?\n)*", re.MULTILINE)


class MarkdownConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """source: a file, a folder (its .md and .markdown files at any depth, but hidden ones), a glob, or several of them

    front_matter: keep what stands between two lines --- at the beginning of a file
    """

    source: str | list[str]
    front_matter: bool = False


class MarkdownDataset(WholeFiles):
    """Markdown files as documents. Line ends stay as they are; a byte order mark is left out."""

    def __init__(self, config: MarkdownConfig) -> None:
        super().__init__(Sources(config.source, WHO, SUFFIXES), WHO)
        self._keeps_front_matter = config.front_matter

    def pieces(self, path: Path) -> Iterator[str]:
        """The text of a file, piece by piece."""
        pieces = read_utf8(path, WHO)
        if self._keeps_front_matter:
            yield from pieces
            return
        if text := without_front_matter(next(pieces, "")):
            yield text
        yield from pieces


def without_front_matter(text: str) -> str:
    """Text that begins a file, without front matter and the blank lines behind it."""
    begin = _BEGIN.match(text)
    end = _END.search(text, begin.end()) if begin else None
    return text[end.end() :] if end else text
