"""What every dataset is held to: the same documents each time, wherever reading broke off, and typed errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from cllm.data.prepare import Job, run_resumable
from cllm.data.tokenizers import ByteTokenizer
from cllm.errors import CllmError
from cllm.hooks.making import check_shape
from cllm.hooks.protocols import Dataset, Document

Make = Callable[[], Dataset]


def check_dataset(make: Make, bad: Mapping[str, Make] | None = None) -> None:
    """Hold a dataset to what cllm asks of every dataset. Raises AssertionError that says what it does not keep.

    make: the dataset over sound input of at least two documents. bad: over input that is not sound, by what is wrong.

    - Documents are the same each time, and begin anew after reading broke off or while another reading goes on.
    - Pieces of a document follow each other; answers are spans of the text, in order; text has a UTF-8 form.
    - A preparation that was interrupted in the middle of the documents and goes on gives the same files.
    - Bad input ends in one of cllm's errors, with all four of its parts.
    """
    who = f"dataset {type(make()).__name__}"
    try:
        check_shape("dataset", make(), who)
    except CllmError as error:
        raise AssertionError(str(error)) from error
    documents = list(make().documents())
    assert len(documents) > 1, f"{who}: {len(documents)} documents; give it input with two or more"
    _check_documents(who, documents)
    _check_readings(who, make, documents)
    _check_interrupted(who, make, len(documents))
    for what, make_bad in (bad or {}).items():
        _check_refused(f"{who}: {what}", make_bad)


def _check_documents(who: str, documents: list[Document]) -> None:
    end = 0
    for number, one in enumerate(documents):
        at = f"{who}: document {number}"
        assert isinstance(one, Document), f"{at} is a {type(one).__name__}, not a cllm.hooks.Document"
        begins = end if one.continues and number else 0
        assert one.offset == begins, f"{at} has offset {one.offset} where the pieces before it have {begins} characters"
        assert number or not one.continues, f"{at} continues none"
        end = begins + len(one.text)
        _check_text(at, one)


def _check_text(at: str, one: Document) -> None:
    try:
        one.text.encode()
    except UnicodeEncodeError as error:
        raise AssertionError(f"{at}: half a surrogate pair at character {error.start}") from None
    places = [place for span in one.answers for place in span]
    is_sound = places == sorted(places) and all(begin < end for begin, end in one.answers)
    assert is_sound and all(0 <= place <= len(one.text) for place in places), f"{at}: answers {list(one.answers)}"


def _check_readings(who: str, make: Make, expected: list[Document]) -> None:
    dataset = make()
    assert list(dataset.documents()) == expected, f"{who}: a new one has other documents"
    assert list(dataset.documents()) == expected, f"{who}: the second reading has other documents"
    left = dataset.documents()
    next(left)
    assert list(dataset.documents()) == expected, f"{who}: a reading depends on one that has broken off"
    assert [expected[0], *left] == expected, f"{who}: a reading depends on another that began later"


@dataclass(frozen=True)
class _Interrupted:
    """Ctrl-C before the last document."""

    dataset: Dataset
    n_documents: int

    def documents(self) -> Iterator[Document]:
        yield from islice(self.dataset.documents(), self.n_documents)
        raise KeyboardInterrupt


def _check_interrupted(who: str, make: Make, n_documents: int) -> None:
    with TemporaryDirectory() as name:
        whole, resumed = Path(name, "whole"), Path(name, "resumed")
        _prepare(make(), whole)
        try:
            _prepare(_Interrupted(make(), n_documents // 2), resumed)
        except KeyboardInterrupt:
            _prepare(make(), resumed)
        for path in sorted(whole.iterdir()):
            same = path.read_bytes() == (resumed / path.name).read_bytes()
            assert same, f"{who}: a preparation that went on after an interruption has another {path.name}"


def _prepare(dataset: Dataset, out: Path) -> None:
    run_resumable(Job([dataset], ByteTokenizer(), 0.1, n_threads=1), out, "check_dataset", lambda text: None)


def _check_refused(what: str, make: Make) -> None:
    try:
        for _ in make().documents():
            pass
    except CllmError as error:
        parts = {"who": error.who, "came": error.came, "expected": error.expected, "todo": error.todo}
        empty = [name for name, text in parts.items() if not text.strip()]
        assert not empty, f"{what}: its error says nothing of {', '.join(empty)}: {error}"
        return
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}; raise cllm.errors.DataError") from error
    raise AssertionError(f"{what}: is read as if it were sound")
