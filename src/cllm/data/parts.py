"""Writes the training or the validation part of what was spooled as a token file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm.data.split import Ranges, pick
from cllm.data.spool import Spool
from cllm.data.tokenfile import Header
from cllm.data.tokenwrite import write_token_file


def write_part(path: Path, spool: Spool, header: Header, validation: float, held_out: bool) -> int:
    """Write the documents for training, or those held out, if there are any; return their number of tokens.

    header: as of the whole spool; the counts become the part's.
    """

    def picked() -> Iterator[Ranges]:
        return pick(spool.documents(), spool.n_documents, validation, held_out)

    n_documents, n_tokens = 0, 0
    for ranges in picked():
        n_documents += len(ranges)
        n_tokens += _length(ranges)
    if n_documents:
        header = msgspec.structs.replace(header, n_documents=n_documents, n_tokens=n_tokens)
        write_token_file(path, header, _starts(picked()), spool.tokens(picked()))
    return n_tokens


def _starts(blocks: Iterator[Ranges]) -> Iterator[NDArray[np.int64]]:
    """Where the documents of ranges begin when they stand one after the other."""
    n_tokens = 0
    for ranges in blocks:
        lengths = ranges[:, 1] - ranges[:, 0]
        yield n_tokens + np.cumsum(lengths) - lengths
        n_tokens += _length(ranges)


def _length(ranges: Ranges) -> int:
    return int((ranges[:, 1] - ranges[:, 0]).sum())
