"""The `pydoc` loader: the help topics that every CPython ships, half a megabyte of English for a demo.

They differ between versions of Python: good to try a thing out, useless for comparing runs between
machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from cllm.hooks.protocols import Document


class PydocConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No options. (source is there for the config's sake and must be absent.)"""

    source: Annotated[None, msgspec.Meta(description="nothing: pydoc reads no source")] = None


class PydocDataset:
    """Each topic of `pydoc_data.topics` is a document; they come in the order of their names."""

    def __init__(self, config: PydocConfig | None = None) -> None:
        pass

    def documents(self) -> Iterator[Document]:
        from pydoc_data.topics import topics  # half a megabyte of dict: only when asked for

        for name in sorted(topics):
            yield Document(topics[name], f"pydoc_data.topics: {name}")
