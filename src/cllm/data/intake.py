"""Takes documents into a preparation: counted, turned into tokens, and spooled; those that came before left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.data.answers import check_answers, stretches
from cllm.data.answerspool import Answers
from cllm.data.counts import Counts
from cllm.data.digestset import DigestSet
from cllm.data.journal import Entry, TextDigest, Work
from cllm.data.pipeline import in_order
from cllm.data.spool import NO_ANSWERS, Spool
from cllm.data.spoolfile import Changed
from cllm.errors import TokenizerError
from cllm.hooks.protocols import Dataset, Document, Tokenizer

OTHER_TEXT = "the text is not that of the unfinished preparation"

Watch = Callable[[Document, int], None]  # a document or its piece, and its tokens; as they come


class Intake:
    """All documents that were taken so far, in `spool` and `counts`; with `seen` no two have the same text."""

    def __init__(
        self, spool: Spool, tokenizer: Tokenizer, seen: DigestSet | None = None, n_threads: int = 1,
        work: Work | None = None, entry: Entry | None = None, watch: Watch | None = None,
        trained: TextDigest | None = None,
    ) -> None:
        """seen: the texts of earlier intakes, to which these are added. entry: go on from there; `spool` is of then.

        trained: takes all text that is not held out.
        """
        self.counts = Counts()
        self.text = TextDigest()
        self.n_duplicates = 0
        self._n_held_out = entry.n_held_out if entry else None
        self._spool = spool
        self._tokenizer = tokenizer
        self._n_threads = n_threads if getattr(tokenizer, "encodes_in_threads", False) else 1
        self._seen = seen
        self._work = work
        self._entry = entry if entry is not None and entry.n_pieces else None  # None: what it tells of was met again
        self._watch = watch
        self._trained = trained
        self._begin = entry.begin if entry else 0  # the token with which the last document begins
        self._is_open = False  # whether it is not yet known whether the last document is one that came before

    def take(self, dataset: Dataset, held_out: bool = False) -> None:
        """Take all documents of a dataset; all that are held out come first.

        Raises what it raises, TokenizerError with the place, PluginError for answers that are none of the text, and
        Changed for other documents than those that the entry tells of.
        """
        documents = dataset.documents()
        if self._entry is not None:
            self._meet_again(documents, held_out, self._entry)

        def encode_checked(document: Document) -> Encoded:
            check_answers(document, type(dataset).__name__)
            return encode(self._tokenizer, document)

        for document, encoded in in_order(documents, encode_checked, self._n_threads):
            if not document.continues:
                self._end_document()
                self._begin = self._spool.n_tokens
            # What may be taken back is not to be relied upon.
            if self._work is not None and self._work.is_due and not (self._seen is not None and document.continues):
                self.keep()
            self._add(document, held_out)
            self._spool.add(encoded.tokens, not document.continues, encoded.answers)
            if self._watch is not None:
                self._watch(document, len(encoded.tokens))
        if self._entry is None:
            self._end_document()

    def hold_out(self) -> int:
        """The number of documents so far, which are those to hold out."""
        if self._n_held_out is None:
            if self._entry is not None:  # they were more
                raise Changed(OTHER_TEXT)
            self._n_held_out = self._spool.n_documents
        return self._n_held_out

    def finish(self) -> None:
        """All datasets were taken. Raises Changed where that was less than the entry tells of."""
        if self._entry is not None:
            raise Changed(OTHER_TEXT)

    def keep(self) -> None:
        """Write an entry of what was taken so far."""
        if self._work is not None and self._entry is None:
            self._work.keep(
                n_pieces=self.text.n_pieces, text=self.text.hexdigest(), n_held_out=self._n_held_out,
                begin=self._begin, spool=self._spool.saved(),
            )

    def _meet_again(self, documents: Iterator[Document], held_out: bool, entry: Entry) -> None:
        """Read as many documents as the entry tells of: their tokens are there."""
        for document in documents:
            if not document.continues:
                self._end_document(is_kept=True)
            self._add(document, held_out)
            if self._watch is not None:
                self._watch(document, 0)
            if self.text.n_pieces == entry.n_pieces:
                if self.text.hexdigest() != entry.text:
                    raise Changed(OTHER_TEXT)
                self._entry = None
                if self._seen is not None:  # an entry is written between two documents then
                    self._end_document(is_kept=True)
                return
        self._end_document(is_kept=True)

    def _add(self, document: Document, held_out: bool) -> None:
        self.text.add(document, held_out)
        if self._trained is not None and not held_out:
            self._trained.add(document, held_out)
        self.counts.add(document)
        self._is_open = True

    def _end_document(self, is_kept: bool = False) -> None:
        """Only now is it known whether it is one that came before: it may have come in pieces.

        is_kept: it was known when the entry was written, and nothing of it is in the spool.
        """
        if self._seen is None or not self._is_open:
            return
        self._is_open = False
        if self.counts.document_characters and not self._seen.add(self.counts.document_digest()):
            self.n_duplicates += 1
            self.counts.take_back()
            if not is_kept and self._spool.n_tokens > self._begin:
                self._spool.take_back(self._begin)


def review(
    dataset: Dataset, held_out: Dataset | None, seen: DigestSet | None = None, trained: TextDigest | None = None
) -> str:
    """The digest of a part that is finished, all of it read again; its texts are added to `seen` and `trained`."""
    text, counts = TextDigest(), Counts()

    def end() -> None:
        if seen is not None and text.n_pieces and counts.document_characters:
            seen.add(counts.document_digest())

    for one in (held_out, dataset):
        for document in one.documents() if one is not None else ():
            if not document.continues:
                end()
            text.add(document, one is held_out)
            if trained is not None and one is dataset:
                trained.add(document, False)
            counts.add(document)
        end()
    return text.hexdigest()


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
