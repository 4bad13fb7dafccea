"""Takes documents into a preparation: counted, turned into tokens, and spooled; those that came before left out."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from cllm.data.counts import Counts
from cllm.data.digestset import DigestSet
from cllm.data.spool import Spool
from cllm.errors import TokenizerError
from cllm.hooks.protocols import Dataset, Document, Tokenizer


class Intake:
    """All documents that were taken so far, in `spool` and `counts`; with `dedup` no two have the same text."""

    def __init__(self, spool: Spool, tokenizer: Tokenizer, dedup: bool = False) -> None:
        self.counts = Counts()
        self.n_duplicates = 0
        self._spool = spool
        self._tokenizer = tokenizer
        self._seen = DigestSet() if dedup else None
        self._begin = 0  # the token with which the last document begins

    def take(self, dataset: Dataset) -> None:
        """Take all documents of a dataset. Raises what it raises, and TokenizerError with the place."""
        for document in dataset.documents():
            if not document.continues:
                self._end_document()
                self._begin = self._spool.n_tokens
            self.counts.add(document)
            self._spool.add(encode(self._tokenizer, document), begins=not document.continues)
        self._end_document()

    def _end_document(self) -> None:
        """Only now is it known whether it is one that came before: it may have come in pieces."""
        if self._seen is None or self._spool.n_tokens == self._begin:
            return
        if not self._seen.add(self.counts.document_digest()):
            self.n_duplicates += 1
            self.counts.take_back()
            self._spool.take_back(self._begin)
        self._begin = self._spool.n_tokens


def encode(tokenizer: Tokenizer, document: Document) -> NDArray[Any]:
    """The tokens of a document, or of its piece. Raises TokenizerError with the place."""
    try:
        tokens = tokenizer.encode(document.text)
    except TokenizerError as error:
        place = f"{document.source}, from character {document.offset:,} on"
        raise TokenizerError(error.who, f"{place}: {error.came}", error.expected, error.todo) from None
    if len(tokens) and int(tokens.max()) >= tokenizer.vocab_size:
        raise TokenizerError(
            who=f"tokenizer {tokenizer.name}",
            came=f"it made the id {int(tokens.max())} of {document.source}",
            expected=f"ids below its vocab_size = {tokenizer.vocab_size}",
            todo="report it to the tokenizer's author",
        )
    return tokens
