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
        self._all = hashlib.blake2b(digest_size=32)
        self._document = hashlib.blake2b(digest_size=32)

    def add(self, document: Document) -> None:
        self.n_characters += len(document.text)
        self.n_segments += document.counts.get("segments", 0 if document.continues else 1)
        self.n_context_characters += document.counts.get("context_characters", 0)
        if not document.continues:
            self._all.update(self._document.digest())
            self._document = hashlib.blake2b(digest_size=32)
        self._document.update(document.text.encode("utf-8", "surrogatepass"))

    def source_digest(self) -> str:
        """Hexadecimal BLAKE2b-256 of those of nothing and of each document's UTF-8, in order."""
        whole = self._all.copy()
        whole.update(self._document.digest())
        return whole.hexdigest()


def source_digest(dataset: Dataset) -> str:
    """The digest that `prepare` would give the dataset's text; reads all of it."""
    counts = Counts()
    for document in dataset.documents():
        counts.add(document)
    return counts.source_digest()
