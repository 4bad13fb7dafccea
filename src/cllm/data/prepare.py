"""Turns datasets into folders of token files: whole or not at all, in bounded memory but for 100 bytes a document.

The folder has train.tokens, validation.tokens (if there is a validation part), tokenizer.json and
prepare.json; that of several datasets with weights has such a folder for each, and mixture.json. It is written under
another name and renamed when it is whole: what fails half-way leaves nothing behind, and what is killed half-way
leaves a hidden folder with which the same call goes on (journal.py).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from cllm.atomic import disk_errors, rename, sync_folder, temporary_beside, write_file
from cllm.data.digestset import DigestSet
from cllm.data.intake import OTHER_TEXT, Intake, Watch, review
from cllm.data.journal import WHOLE, Entry, TextDigest, Work
from cllm.data.manifest import part_name, write_manifest
from cllm.data.mixture import deal
from cllm.data.parts import write_part
from cllm.data.split import Ranges, split
from cllm.data.spool import Spool, SpoolState
from cllm.data.spoolfile import Changed
from cllm.data.tokenizerfile import FILE_NAME as TOKENIZER_FILE
from cllm.data.tokenizerfile import save_tokenizer
from cllm.data.tokenwrite import make_header
from cllm.errors import DataError, TokenizerError
from cllm.hooks.protocols import Dataset, Document, Tokenizer
from cllm.machine import default_threads

TRAIN_FILE = "train.tokens"
VALIDATION_FILE = "validation.tokens"
REPORT_FILE = "prepare.json"
LEARNED_FILE = "learned.json"  # of the hidden folder: a tokenizer in its own form


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


@dataclass(frozen=True)
class Job:
    """What is to be prepared, and how. Raises DataError for shares and weights that there cannot be.

    datasets: one, or several with as many weights, of which each becomes a part of a mixture. tokenizer: one, or a
    class of them; a class with `from_texts` learns from all documents of all datasets first, held out or not, which
    are then read twice. validation: a share of each dataset, or other documents, with one dataset. options: of the
    class, if it has some. dedup: leave out documents with the same text as an earlier one, of any dataset; those for
    validation come first. n_threads: that encode, where the tokenizer can; left out, the physical cores; no byte
    depends on it. watch: is told of every piece, with its number of tokens, as it passes.
    """

    datasets: Sequence[Dataset]
    tokenizer: Tokenizer | type[Tokenizer]
    validation: float | Dataset = 0.1
    options: msgspec.Struct | None = None
    dedup: bool = False
    weights: Sequence[float] | None = None
    n_threads: int | None = None
    watch: Watch | None = None

    def __post_init__(self) -> None:
        if isinstance(self.validation, int | float) and not 0 <= self.validation < 1:
            raise _refuse(f"validation = {self.validation}", "a share in 0 <= validation < 1", "leave it at 0.1")
        if self.weights is not None:
            deal(self.weights, len(self.datasets))

    @property
    def held_out(self) -> Dataset | None:
        """The documents that are held out by name."""
        return None if isinstance(self.validation, int | float) else self.validation


def prepare(
    dataset: Dataset, tokenizer: Tokenizer | type[Tokenizer], out: str | Path, validation: float | Dataset = 0.1,
    options: msgspec.Struct | None = None, dedup: bool = False, n_threads: int | None = None,
) -> PrepareReport:
    """Tokenise all documents into the new folder `out`, with some of them held out for validation.

    The arguments are those of `Job`. Raises DataError (also where `out` is in use or cannot be written) and
    TokenizerError with the place.
    """
    [report] = run_once(Job([dataset], tokenizer, validation, options, dedup, n_threads=n_threads), Path(out))
    return report


def run_once(job: Job, out: Path) -> list[PrepareReport]:
    """Do a job, and leave nothing but its result; the reports of its datasets."""
    temporary = temporary_beside(out)
    try:
        with disk_errors(DataError, "prepare", out):
            _refuse_used(out)
            (temporary / WHOLE).mkdir(parents=True)
            reports = _fill(job, temporary, None)
            _finish(temporary / WHOLE, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return reports


def run_resumable(job: Job, out: Path, identity: str, tell: Callable[[str], None]) -> list[PrepareReport]:
    """Do a job, going on with what an earlier call of the same `identity` has left when it was killed.

    identity: a digest of all that decides the result besides the text. tell: is told where it goes on, or why not.
    Raises what `prepare` does, and DataError while another process prepares `out`.
    """
    with disk_errors(DataError, "prepare", out):
        _refuse_used(out)
        work = Work(out, identity)
        try:
            if work.is_other:
                tell("an unfinished preparation with other options was there; this one begins anew")
            elif work.is_kept:
                tell("an unfinished preparation goes on; what it has read is read again, and compared")
            try:
                reports = _fill(job, work.folder, work)
            except Changed as changed:
                tell(f"{changed}; this one begins anew")
                work.begin_anew()
                reports = _fill(job, work.folder, work)
            _finish(work.folder / WHOLE, out)
        except Exception as error:
            work.remove()
            if isinstance(error, Changed):
                came, todo = "the text changed between two readings", "prepare it when nobody writes to it"
                raise _refuse(came, "files that stay as they are", todo) from None
            raise
        except BaseException:  # Ctrl-C
            (work.leave if work.is_kept else work.remove)()
            raise
        work.remove()
    return reports


def _fill(job: Job, folder: Path, work: Work | None) -> list[PrepareReport]:
    """Write all parts into the folder `WHOLE` of `folder`, which has room for what they need meanwhile."""
    tokenizer, trained = _tokenizer(job, folder, work)
    seen = DigestSet() if job.dedup else None
    entry, reports = work.entry if work is not None else None, []
    n_finished = len(entry.finished) if entry else 0
    for number, dataset in enumerate(job.datasets):
        target = folder / WHOLE if job.weights is None else folder / WHOLE / part_name(number)
        if entry is not None and number < n_finished:
            if review(dataset, job.held_out, seen, trained) != entry.finished[number]:
                raise Changed(OTHER_TEXT)
            reports.append(_report_of(target))
            continue
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        here = entry if entry is not None and entry.n_pieces and number == n_finished else None
        reports.append(_part(job, dataset, tokenizer, folder, target, seen, trained, work, here))
    if trained is not None and work is not None and work.entry is not None:
        _refuse_other_text(trained, work.entry)
    if job.weights is not None:
        write_manifest(folder / WHOLE, job.weights)
    return reports


def _report_of(part: Path) -> PrepareReport:
    try:
        return msgspec.json.decode((part / REPORT_FILE).read_bytes(), type=PrepareReport)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        raise Changed(f"{part} is not as it was left") from None


def _refuse_other_text(trained: TextDigest, entry: Entry) -> None:
    if trained.hexdigest() != entry.learned:
        raise Changed(OTHER_TEXT)


def _part(
    job: Job, dataset: Dataset, tokenizer: Tokenizer, folder: Path, target: Path, seen: DigestSet | None,
    trained: TextDigest | None, work: Work | None, entry: Entry | None,
) -> PrepareReport:
    """Write the files of one dataset into `target`, from `entry` on."""
    spool = Spool(folder, tokenizer.vocab_size, entry.spool if entry else None)
    n_threads = job.n_threads or default_threads()
    done = False
    try:
        intake = Intake(spool, tokenizer, seen, n_threads, work, entry, job.watch, trained)
        where = f" in {target.name} that is not in an earlier one" if job.weights is not None else ""
        parts = _parts(intake, spool, dataset, job.validation, where)
        report = _write_files(target, spool, intake, tokenizer, parts)
        save_tokenizer(tokenizer, target / TOKENIZER_FILE)
        write_file(target / REPORT_FILE, msgspec.json.format(msgspec.json.encode(asdict(report))) + b"\n")
        if work is not None:
            sync_folder(target)
            finished = [*(work.entry.finished if work.entry else ()), intake.text.hexdigest()]
            work.keep(finished=finished, n_pieces=0, text="", n_held_out=None, begin=0, spool=SpoolState())
        done = True
    finally:
        spool.close(remove=done or work is None)
    return report


def _tokenizer(job: Job, folder: Path, work: Work | None) -> tuple[Tokenizer, TextDigest | None]:
    """The tokenizer, and where the text is digested again of which one that goes on was made; None: it learned nothing.

    What was learned before a kill is kept.
    """
    if work is None or not isinstance(job.tokenizer, type) or not hasattr(job.tokenizer, "from_texts"):
        return tokenizer_for(job.tokenizer, _Chain(job.datasets), job.options), None
    if work.entry is not None:
        return _learned(folder / LEARNED_FILE, job.tokenizer), TextDigest()
    read = _Chain(job.datasets, TextDigest(), job.watch)
    tokenizer = tokenizer_for(job.tokenizer, read, job.options)
    write_file(folder / LEARNED_FILE, json.dumps(tokenizer.to_json()).encode())
    work.keep(learned=read.text.hexdigest() if read.text else "")
    return tokenizer, TextDigest()


def _learned(path: Path, kind: type[Tokenizer]) -> Tokenizer:
    try:
        return kind.from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TokenizerError):
        raise Changed(f"{path} is not as it was left") from None


class _Chain:
    """Datasets one after the other, as one from which a tokenizer learns."""

    def __init__(self, datasets: Sequence[Dataset], text: TextDigest | None = None, watch: Watch | None = None) -> None:
        self._datasets = datasets
        self.text = text
        self._watch = watch

    def files(self) -> list[Path]:
        having = [dataset for dataset in self._datasets if hasattr(dataset, "files")]
        return [path for dataset in having for path in dataset.files()]

    def documents(self) -> Iterator[Document]:
        for dataset in self._datasets:
            for document in dataset.documents():
                if self.text is not None:
                    self.text.add(document, False)
                if self._watch is not None:
                    self._watch(document, 0)
                yield document


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


def _finish(whole: Path, out: Path) -> None:
    sync_folder(whole)
    rename(whole, out)


def _refuse_used(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise _refuse(f"{out} is there already", "a new or empty folder", "choose another, or remove it first")


def _refuse(came: str, expected: str, todo: str) -> DataError:
    return DataError(who="prepare", came=came, expected=expected, todo=todo)
