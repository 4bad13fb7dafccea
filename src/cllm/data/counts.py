"""What a preparation counts of its documents, and the digest of their text."""

from __future__ import annotations

import hashlib

from cllm.hooks.protocols import Dataset, Document


class Counts:
    """Sums over the documents, and the digest of their texts and boundaries."""

    def __init__(self) -> None:
        self.n_characters = 0
        self.n_segments = 0
        self.n_context_characters = 0
        self._before = (0, 0, 0)  # the sums without the last document
        self._all = hashlib.blake2b(hashlib.blake2b(digest_size=32).digest(), digest_size=32)
        self._document = hashlib.blake2b(digest_size=32)
        self._is_open = False  # whether the last document is not yet in _all

    def add(self, document: Document) -> None:
        if not document.continues:
            self._close()
            self._before = (self.n_characters, self.n_segments, self.n_context_characters)
        self._is_open = True
        self.n_characters += len(document.text)
        self.n_segments += document.counts.get("segments", 0 if document.continues else 1)
        self.n_context_characters += document.counts.get("context_characters", 0)
        self._document.update(document.text.encode("utf-8", "surrogatepass"))

    @property
    def document_characters(self) -> int:
        """Of the last document."""
        return self.n_characters - self._before[0]

    def document_digest(self) -> bytes:
        """Of the text of the last document, or what has come of it, 32 bytes."""
        return self._document.digest()

    def take_back(self) -> None:
        """Forget the last document."""
        self.n_characters, self.n_segments, self.n_context_characters = self._before
        self._is_open = False
        self._document = hashlib.blake2b(digest_size=32)

    def source_digest(self) -> str:
        """Hexadecimal BLAKE2b-256 of those of nothing and of each document's UTF-8, in order."""
        self._close()
        return self._all.hexdigest()

    def _close(self) -> None:
        if self._is_open:
            self._all.update(self._document.digest())
            self._is_open = False
        self._document = hashlib.blake2b(digest_size=32)


def source_digest(dataset: Dataset) -> str:
    """The digest that `prepare` would give the dataset's text; reads all of it."""
    counts = Counts()
    for document in dataset.documents():
        counts.add(document)
    return counts.source_digest()
