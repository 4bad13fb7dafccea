"""The `text` loader: UTF-8 text files, folders and globs; each file is one document."""

from __future__ import annotations

import msgspec

from cllm.data.files import Sources, WholeFiles


class TextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """source: a file, a folder (all its files at any depth, but hidden ones), a glob, or several of them."""

    source: str | list[str]


class TextDataset(WholeFiles):
    """Text files as documents. Line ends stay as they are; a byte order mark is left out."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__(Sources(config.source, "text"), "text")
