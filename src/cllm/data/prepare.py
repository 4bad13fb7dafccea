"""Turns a dataset into a folder of token files, in bounded memory: whole or not at all.

The folder has train.tokens, validation.tokens (if there is a validation part), tokenizer.json and
prepare.json. It is written under another name and renamed when it is whole: what fails half-way leaves
nothing behind.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm.atomic import disk_errors, rename, sync_folder, temporary_beside, write_file
from cllm.data.split import Ranges, split
from cllm.data.spool import Spool
from cllm.data.tokenizers import FILE_NAME as TOKENIZER_FILE
from cllm.data.tokenizers import save_tokenizer
from cllm.data.tokenwrite import make_header, write_token_file
from cllm.errors import DataError, TokenizerError
from cllm.hooks.specs import Dataset, Document, Tokenizer

TRAIN_FILE = "train.tokens"
VALIDATION_FILE = "validation.tokens"
REPORT_FILE = "prepare.json"


@dataclass(frozen=True)
class PrepareReport:
    """What was prepared. `n_segments` and `n_context_characters` are the loader's counts.

    A document for which the loader counts no segments is one.
    """

    n_documents: int
    n_segments: int
    n_characters: int
    n_context_characters: int
    n_tokens: int
    n_train_tokens: int
    n_validation_tokens: int
    vocab_size: int
    tokenizer: str
    tokenizer_digest: str
    source_digest: str


def prepare(
    dataset: Dataset, tokenizer: Tokenizer | type[Tokenizer], out: str | Path, validation: float = 0.1
) -> PrepareReport:
    """Tokenise all documents into the new folder `out`; `validation` is the share of documents that is
    kept apart.

    tokenizer: one, or a class of them; a class with `from_texts` learns from the documents first, which
    are then read twice. Raises DataError (also where `out` is in use or cannot be written) and
    TokenizerError with the place.
    """
    if not 0 <= validation < 1:
        raise _refuse(f"validation = {validation}", "a share in 0 <= validation < 1", "leave it at 0.1")
    out = Path(out)
    with _new_folder(out) as folder:
        tokenizer = tokenizer_for(tokenizer, dataset)
        spool = Spool(folder, tokenizer.vocab_size)
        try:
            counts = _Counts()
            for document in dataset.documents():
                counts.add(document)
                spool.add(_encode(tokenizer, document), begins=not document.continues)
            report = _write_files(folder, spool, counts, tokenizer, validation)
        finally:
            spool.close()
        save_tokenizer(tokenizer, folder / TOKENIZER_FILE)
        write_file(folder / REPORT_FILE, msgspec.json.format(msgspec.json.encode(asdict(report))) + b"\n")
    return report


def tokenizer_for(tokenizer: Tokenizer | type[Tokenizer], dataset: Dataset) -> Tokenizer:
    """The tokenizer itself, or one of the class: learned from the dataset's texts where it has
    `from_texts`.
    """
    if not isinstance(tokenizer, type):
        return tokenizer
    learn: Any = getattr(tokenizer, "from_texts", None)
    made: Tokenizer = learn(document.text for document in dataset.documents()) if learn else tokenizer()
    return made


class _Counts:
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
    counts = _Counts()
    for document in dataset.documents():
        counts.add(document)
    return counts.source_digest()


def _encode(tokenizer: Tokenizer, document: Document) -> NDArray[Any]:
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


def _write_files(folder: Path, spool: Spool, counts: _Counts, tokenizer: Tokenizer, validation: float) -> PrepareReport:
    starts = spool.document_starts()
    if not len(starts):
        raise _refuse("no text", "at least one document that is not empty", "name another source")
    report = PrepareReport(
        n_documents=len(starts),
        n_segments=counts.n_segments,
        n_characters=counts.n_characters,
        n_context_characters=counts.n_context_characters,
        n_tokens=spool.n_tokens,
        n_train_tokens=0,
        n_validation_tokens=0,
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.name,
        tokenizer_digest=tokenizer.digest(),
        source_digest=counts.source_digest(),
    )
    train, held_out = split(starts, spool.n_tokens, validation)
    return replace(
        report,
        n_train_tokens=_write_part(folder / TRAIN_FILE, spool, train, report),
        n_validation_tokens=_write_part(folder / VALIDATION_FILE, spool, held_out, report),
    )


def _write_part(path: Path, spool: Spool, ranges: Ranges, report: PrepareReport) -> int:
    """Write one part, if there is something in it; return its number of tokens."""
    ends = np.cumsum(ranges[:, 1] - ranges[:, 0])
    if not len(ends):
        return 0
    n_tokens = int(ends[-1])
    header = make_header(
        n_tokens,
        len(ends),
        report.vocab_size,
        report.tokenizer,
        report.tokenizer_digest,
        report.source_digest,
    )
    starts = np.append(0, ends[:-1])
    write_token_file(path, header, [starts], spool.tokens(ranges))
    return n_tokens


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out`, absent or empty so far, that becomes `out` when the block ends
    well.
    """
    temporary = temporary_beside(out)
    try:
        with disk_errors(DataError, "prepare", out):
            _refuse_used(out)
            temporary.mkdir(parents=True)
            yield temporary
            sync_folder(temporary)
            rename(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_used(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise _refuse(f"{out} is there already", "a new or empty folder", "choose another, or remove it first")


def _refuse(came: str, expected: str, todo: str) -> DataError:
    return DataError(who="prepare", came=came, expected=expected, todo=todo)
