"""Turns a dataset into a folder of token files: whole or not at all, in bounded memory but for 100 bytes a document.

The folder has train.tokens, validation.tokens (if there is a validation part), tokenizer.json and
prepare.json. It is written under another name and renamed when it is whole: what fails half-way leaves
nothing behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from cllm.atomic import disk_errors, rename, sync_folder, temporary_beside, write_file
from cllm.data.intake import Intake
from cllm.data.parts import write_part
from cllm.data.split import Ranges, split
from cllm.data.spool import Spool
from cllm.data.tokenizerfile import FILE_NAME as TOKENIZER_FILE
from cllm.data.tokenizerfile import save_tokenizer
from cllm.data.tokenwrite import make_header
from cllm.errors import DataError
from cllm.hooks.protocols import Dataset, Tokenizer

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
    n_duplicates: int = 0  # documents that were left out, and are in no other count


def prepare(
    dataset: Dataset, tokenizer: Tokenizer | type[Tokenizer], out: str | Path, validation: float | Dataset = 0.1,
    options: msgspec.Struct | None = None, dedup: bool = False,
) -> PrepareReport:
    """Tokenise all documents into the new folder `out`, with some of them held out for validation.

    tokenizer: one, or a class of them; a class with `from_texts` learns from all documents of `dataset` first, held
    out or not, which are then read twice. validation: a share of them, or other documents. options: of the class, if
    it has some. dedup: leave out documents with the same text as an earlier one; those for validation come first.
    Raises DataError (also where `out` is in use or cannot be written) and TokenizerError with the place.
    """
    if isinstance(validation, int | float) and not 0 <= validation < 1:
        raise _refuse(f"validation = {validation}", "a share in 0 <= validation < 1", "leave it at 0.1")
    out = Path(out)
    with _new_folder(out) as folder:
        tokenizer = tokenizer_for(tokenizer, dataset, options)
        spool = Spool(folder, tokenizer.vocab_size)
        try:
            intake = Intake(spool, tokenizer, dedup)
            parts = _parts(intake, spool, dataset, validation)
            report = _write_files(folder, spool, intake, tokenizer, parts)
        finally:
            spool.close()
        save_tokenizer(tokenizer, folder / TOKENIZER_FILE)
        write_file(folder / REPORT_FILE, msgspec.json.format(msgspec.json.encode(asdict(report))) + b"\n")
    return report


def tokenizer_for(
    tokenizer: Tokenizer | type[Tokenizer], dataset: Dataset, options: msgspec.Struct | None = None
) -> Tokenizer:
    """The tokenizer itself, or one of the class, which learns from the dataset if it has `from_texts`."""
    if not isinstance(tokenizer, type):
        return tokenizer
    how = () if options is None else (options,)
    learn: Any = getattr(tokenizer, "from_texts", None)
    if learn:
        refuse_streams(dataset, "prepare", f"for {tokenizer.name} learns from the text before it is written with it")
    made: Tokenizer = learn((one.text for one in dataset.documents()), *how) if learn else tokenizer(*how)
    return made


def refuse_streams(dataset: Dataset, who: str, why: str) -> None:
    """DataError where a file of the dataset is a pipe or a device, of which a second reading would wait for ever."""
    files: Callable[[], list[Path]] | None = getattr(dataset, "files", None)
    for path in files() if files else ():
        if path.exists() and not (path.is_file() or path.is_dir()):
            came, expected = f"{path} is a pipe or a device, {why}", "files, which can be read twice"
            raise DataError(who, came, expected, "write it to a file, or take the tokenizer byte with `cllm prepare`")


def _parts(intake: Intake, spool: Spool, dataset: Dataset, validation: float | Dataset) -> tuple[Ranges, Ranges]:
    """Take all documents; the ranges of tokens for training and for validation."""
    if not isinstance(validation, int | float):
        intake.take(validation)
    n_held_out = spool.n_documents
    intake.take(dataset)
    if spool.n_documents == n_held_out:
        came = "no text" if not n_held_out else "no text to train on that is not in the validation part"
        raise _refuse(came, "at least one document that is not empty", "name another source")
    if isinstance(validation, int | float):
        return split(spool.documents(), validation)
    if not n_held_out:
        came = "no text in the validation part"
        raise _refuse(came, "at least one document that is not empty", "name another source")
    return spool.documents()[n_held_out:], spool.documents()[:n_held_out]


def _write_files(
    folder: Path, spool: Spool, intake: Intake, tokenizer: Tokenizer, parts: tuple[Ranges, Ranges]
) -> PrepareReport:
    counts, (train, held_out) = intake.counts, parts
    digests = (tokenizer.digest(), counts.source_digest())
    header = make_header(spool.n_tokens, spool.n_documents, tokenizer.vocab_size, tokenizer.name, *digests)
    return PrepareReport(
        n_documents=spool.n_documents,
        n_segments=counts.n_segments,
        n_characters=counts.n_characters,
        n_context_characters=counts.n_context_characters,
        n_tokens=spool.n_tokens,
        n_train_tokens=write_part(folder / TRAIN_FILE, spool, header, train),
        n_validation_tokens=write_part(folder / VALIDATION_FILE, spool, header, held_out),
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.name,
        tokenizer_digest=digests[0],
        source_digest=digests[1],
        n_duplicates=intake.n_duplicates,
    )


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out`, absent or empty so far, when the block ends well."""
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
