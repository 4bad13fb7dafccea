"""Token ids to text as they come, for text that is shown while it is written."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from cllm.hooks.protocols import Tokenizer


class StreamDecoder(Protocol):
    """Decodes ids as they come: all its texts together are what `decode` gives for all ids."""

    def push(self, ids: ArrayLike) -> str:
        """Take ids and return the text that is now certain."""

    def finish(self) -> str:
        """Return the text of what was held back."""


def stream_decoder(tokenizer: Tokenizer) -> StreamDecoder:
    """The tokenizer's own stream decoder, or a plain one for ids that are whole characters, as char's."""
    own = getattr(tokenizer, "stream_decoder", None)
    decoder: StreamDecoder = own() if own else _PlainStream(tokenizer)
    return decoder


class ByteStream:
    """For ids that stand for bytes: holds back the first bytes of a character until the rest of them has come."""

    def __init__(self, bytes_of: Callable[[ArrayLike], bytes]) -> None:
        self._bytes_of = bytes_of
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, ids: ArrayLike) -> str:
        return self._decoder.decode(self._bytes_of(ids))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


class _PlainStream:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def push(self, ids: ArrayLike) -> str:
        return self._tokenizer.decode(np.atleast_1d(np.asarray(ids)))

    def finish(self) -> str:
        return ""
