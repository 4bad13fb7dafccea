"""Writes a part of what was spooled as a token file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from cllm.data.split import Ranges
from cllm.data.spool import Spool
from cllm.data.tokenfile import Header
from cllm.data.tokenwrite import write_token_file


def write_part(path: Path, spool: Spool, header: Header, documents: Ranges) -> int:
    """Write these documents, if there are any; return their number of tokens.

    header: as of the whole spool; the counts become the part's.
    """
    lengths = documents[:, 1] - documents[:, 0]
    n_tokens = int(lengths.sum())
    if n_tokens:
        n_answers = sum(map(len, spool.answers(documents)))
        header = msgspec.structs.replace(header, n_documents=len(documents), n_tokens=n_tokens, n_answers=n_answers)
        starts = np.cumsum(lengths) - lengths
        write_token_file(path, header, [starts], spool.tokens(documents), spool.answers(documents))
    return n_tokens
