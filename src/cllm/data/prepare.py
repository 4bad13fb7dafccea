"""Turns datasets into folders of token files: whole or not at all, in bounded memory but for 100 bytes a document.

The folder has train.tokens, validation.tokens (if there is a validation part), tokenizer.json and
prepare.json; that of several datasets with weights has such a folder for each, and mixture.json. It is written under
another name and renamed when it is whole: what fails half-way leaves nothing behind, and what is killed half-way
leaves a hidden folder with which the same call goes on (journal.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cllm.atomic import disk_errors, rename, sync_folder
from cllm.data.digestset import DigestSet
from cllm.data.intake import OTHER_TEXT, Intake, Watch, review
from cllm.data.journal import WHOLE, Entry, TextDigest, Work
from cllm.data.learning import learn
from cllm.data.manifest import part_name, write_manifest
from cllm.data.mixture import deal
from cllm.data.preparedpart import PrepareReport, report_of, write_prepared
from cllm.data.spool import Spool, SpoolState
from cllm.data.spoolfile import Changed
from cllm.errors import DataError
from cllm.hooks.protocols import Dataset, Tokenizer
from cllm.machine import default_threads
from cllm.newfolder import new_folder, refuse_used


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
    with new_folder(out, DataError, "prepare") as whole:
        return _fill(job, whole, whole, None)


def run_resumable(job: Job, out: Path, identity: str, tell: Callable[[str], None]) -> list[PrepareReport]:
    """Do a job, going on with what an earlier call of the same `identity` has left when it was killed.

    identity: a digest of all that decides the result besides the text. tell: is told where it goes on, or why not.
    Raises what `prepare` does, and DataError while another process prepares `out`.
    """
    with disk_errors(DataError, "prepare", out):
        refuse_used(out, DataError, "prepare")
        work = Work(out, identity)
        try:
            if work.is_other:
                tell("an unfinished preparation with other options was there; this one begins anew")
            elif work.is_kept:
                tell("an unfinished preparation goes on; what it has read is read again, and compared")
            try:
                reports = _fill(job, work.folder / WHOLE, work.folder, work)
            except Changed as changed:
                tell(f"{changed}; this one begins anew")
                work.begin_anew()
                reports = _fill(job, work.folder / WHOLE, work.folder, work)
            sync_folder(work.folder / WHOLE)
            rename(work.folder / WHOLE, out)
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


def _fill(job: Job, whole: Path, folder: Path, work: Work | None) -> list[PrepareReport]:
    """Write all parts into the folder `whole`; `folder` has room for what they need meanwhile."""
    tokenizer, trained = learn(job.tokenizer, job.datasets, job.options, job.watch, folder, work)
    seen = DigestSet() if job.dedup else None
    entry, reports = work.entry if work is not None else None, []
    n_finished = len(entry.finished) if entry else 0
    for number, dataset in enumerate(job.datasets):
        target = whole if job.weights is None else whole / part_name(number)
        if entry is not None and number < n_finished:
            if review(dataset, job.held_out, seen, trained) != entry.finished[number]:
                raise Changed(OTHER_TEXT)
            reports.append(report_of(target))
            continue
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        here = entry if entry is not None and entry.n_pieces and number == n_finished else None
        reports.append(_part(job, dataset, tokenizer, folder, target, seen, trained, work, here))
    if trained is not None and work is not None and work.entry is not None:
        _refuse_other_text(trained, work.entry)
    if job.weights is not None:
        write_manifest(whole, job.weights)
    return reports


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
        report = write_prepared(target, spool, intake, tokenizer, dataset, job.validation, where)
        if work is not None:
            sync_folder(target)
            finished = [*(work.entry.finished if work.entry else ()), intake.text.hexdigest()]
            work.keep(finished=finished, n_pieces=0, text="", n_held_out=None, begin=0, spool=SpoolState())
        done = True
    finally:
        spool.close(remove=done or work is None)
    return report


def _refuse_other_text(trained: TextDigest, entry: Entry) -> None:
    if trained.hexdigest() != entry.learned:
        raise Changed(OTHER_TEXT)


def _refuse(came: str, expected: str, todo: str) -> DataError:
    return DataError(who="prepare", came=came, expected=expected, todo=todo)
