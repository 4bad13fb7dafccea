"""Paths that hold from any folder: a run remembers where its data lies, wherever it is resumed or measured from."""

from __future__ import annotations

import glob
import os
from typing import overload

import msgspec

from cllm.config.schema import Config


def located(config: Config) -> Config:
    """`config` with the paths of `[data]` made absolute, from the folder that the process is in.

    What names nothing there stays as it is: a plugin's loader may take other sources than files, and an error about a
    file that is missing shows what the user wrote.
    """
    data = config.data
    mixture = data.mixture and [msgspec.structs.replace(part, path=_absolute(part.path)) for part in data.mixture]
    source = [_absolute(one) for one in data.source] if isinstance(data.source, list) else _absolute(data.source)
    tokenizer = data.tokenizer if data.tokenizer_file is None else _absolute(data.tokenizer_file)
    data = msgspec.structs.replace(
        data, path=_absolute(data.path), source=source, mixture=mixture, tokenizer=tokenizer
    )
    return msgspec.structs.replace(config, data=data)


@overload
def _absolute(path: str) -> str: ...
@overload
def _absolute(path: None) -> None: ...
def _absolute(path: str | None) -> str | None:
    if path is None:
        return None
    expanded = os.path.expanduser(path)
    there = os.path.lexists(expanded) or next(glob.iglob(expanded, recursive=True), None) is not None
    return os.path.abspath(expanded) if there else path
