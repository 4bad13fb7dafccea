"""One dataset of a preparation: its documents taken in, divided, and written as token files beside a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from cllm.atomic import write_file
from cllm.data.intake import Intake
from cllm.data.parts import write_part
from cllm.data.split import Ranges, split
from cllm.data.spool import Spool
from cllm.data.spoolfile import Changed
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


def report_of(part: Path) -> PrepareReport:
    """That of a part that was written before. Raises Changed."""
    try:
        return msgspec.json.decode((part / REPORT_FILE).read_bytes(), type=PrepareReport)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        raise Changed(f"{part} is not as it was left") from None


def write_prepared(
    target: Path, spool: Spool, intake: Intake, tokenizer: Tokenizer, dataset: Dataset, validation: float | Dataset,
    where: str,
) -> PrepareReport:
    """Take all documents, and write the folder's files. where: for messages."""
    parts = _parts(intake, spool, dataset, validation, where)
    report = _write_files(target, spool, intake, tokenizer, parts)
    save_tokenizer(tokenizer, target / TOKENIZER_FILE)
    write_file(target / REPORT_FILE, msgspec.json.format(msgspec.json.encode(asdict(report))) + b"\n")
    return report


def _parts(
    intake: Intake, spool: Spool, dataset: Dataset, validation: float | Dataset, where: str
) -> tuple[Ranges, Ranges]:
    """Take all documents; the ranges of tokens for training and for validation. where: for messages."""
    if not isinstance(validation, int | float):
        intake.take(validation, held_out=True)
    n_held_out = intake.hold_out()
    intake.take(dataset)
    intake.finish()
    if spool.n_documents == n_held_out:
        came = "no text" if not n_held_out else "no text to train on that is not in the validation part"
        came += where
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


def _refuse(came: str, expected: str, todo: str) -> DataError:
    return DataError(who="prepare", came=came, expected=expected, todo=todo)
