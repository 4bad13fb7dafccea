"""Takes documents into a preparation: counted, turned into tokens, and spooled; those that came before left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.data.answers import check_answers, stretches
from cllm.data.answerspool import Answers
from cllm.data.counts import Counts
from cllm.data.digestset import DigestSet
from cllm.data.spool import NO_ANSWERS, Spool
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
        """Take all documents of a dataset.

        Raises what it raises, TokenizerError with the place, and PluginError for answers that are none of the text.
        """
        for document in dataset.documents():
            check_answers(document, type(dataset).__name__)
            if not document.continues:
                self._end_document()
                self._begin = self._spool.n_tokens
            self.counts.add(document)
            encoded = encode(self._tokenizer, document)
            self._spool.add(encoded.tokens, not document.continues, encoded.answers)
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


@dataclass(frozen=True)
class Encoded:
    """A document, or its piece, in tokens."""

    tokens: NDArray[Any]  # (n,)
    answers: Answers  # (k, 2), in these tokens


def encode(tokenizer: Tokenizer, document: Document) -> Encoded:
    """The tokens of a document, or of its piece. Raises TokenizerError with the place.

    What stands before, in and behind an answer is encoded by itself, as a prompt is when a model writes the answer:
    no token reaches over either end of one.
    """
    if not document.answers:
        return Encoded(_tokens(tokenizer, document, 0, document.text), NO_ANSWERS)
    parts, spans, n = [], [], 0
    for begin, text, is_answer in stretches(document):
        parts.append(_tokens(tokenizer, document, begin, text))
        if is_answer and len(parts[-1]):
            spans.append((n, n + len(parts[-1])))
        n += len(parts[-1])
    return Encoded(np.concatenate(parts), np.array(spans, np.int64).reshape(-1, 2))


def _tokens(tokenizer: Tokenizer, document: Document, begin: int, text: str) -> NDArray[Any]:
    """Of the text that begins with that character of the document, or of its piece."""
    try:
        tokens = tokenizer.encode(text)
    except TokenizerError as error:
        place = f"{document.source}, from character {document.offset + begin:,} on"
        raise TokenizerError(error.who, f"{place}: {error.came}", error.expected, error.todo) from None
    if len(tokens) and int(tokens.max()) >= tokenizer.vocab_size:
        raise TokenizerError(
            who=f"tokenizer {tokenizer.name}",
            came=f"it made the id {int(tokens.max())} of {document.source}",
            expected=f"ids below its vocab_size = {tokenizer.vocab_size}",
            todo="report it to the tokenizer's author",
        )
    return tokens
