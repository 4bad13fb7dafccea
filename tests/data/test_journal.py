"""A preparation that is killed goes on to the bytes of an undisturbed one, or begins anew where it cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cllm.builtin.repo import RepoConfig, RepoDataset
from cllm.cli import main
from cllm.data import journal
from cllm.data.journal import Work
from cllm.data.prepare import Job, prepare, run_once, run_resumable
from cllm.data.spool import Spool
from cllm.data.tokenizers import ByteTokenizer, CharTokenizer
from cllm.errors import DataError, TokenizerError
from cllm.hooks.protocols import Document
from tests.data.helpers import Texts
from tests.data.test_answers import Marked

ROOT = Path(__file__).resolve().parents[2]

# Runs `cllm` and kills it at the nth call of a function, before or after the call.
KILLED = """
import importlib, os, signal, sys
from cllm.data import journal
journal.EVERY_SECONDS = 0.0
where, name, when, n, *words = sys.argv[1:]
owner = importlib.import_module(where)
*path, name = name.split(".")
for part in path:
    owner = getattr(owner, part)
real, calls = getattr(owner, name), 0
def counted(*given, **how):
    global calls
    calls += 1
    if calls == int(n) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*given, **how)
    if calls == int(n):
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, counted)
from cllm.cli import main
sys.exit(main(words))
"""

POINTS = [
    ("cllm.data.journal", "Work.keep", "before", 1),
    ("cllm.data.journal", "Work.keep", "after", 1),
    ("cllm.data.journal", "Work.keep", "after", 30),
    ("cllm.data.journal", "write_file", "before", 15),
    ("cllm.data.spool", "Spool.add", "after", 20),
    ("cllm.data.spool", "Spool.saved", "after", 9),
    ("cllm.data.preparedpart", "write_part", "after", 1),
    ("cllm.data.preparedpart", "save_tokenizer", "after", 1),
    ("cllm.data.prepare", "sync_folder", "after", 1),
    ("cllm.data.prepare", "rename", "before", 1),
]

QUICK = (POINTS[0], POINTS[2], POINTS[5], POINTS[6], POINTS[9])  # a second each; the others take their time elsewhere


def killed(folder: Path, point: tuple[str, str, str, int], words: Sequence[str]) -> None:
    where, name, when, n = point
    run = subprocess.run(
        [sys.executable, "-c", KILLED, where, name, when, str(n), *words], cwd=folder, check=False,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == -signal.SIGKILL, run.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files of records with answers, and many duplicates within and between them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(journal, "EVERY_SECONDS", 5.0)  # of those that are not killed
    for place in range(3):
        lines = [
            json.dumps({"q": f"question {n % 24} of {n % 2 * place}", "a": f"answer é{n % 24}"})
            for n in range(place, 30)
        ]
        (tmp_path / f"{place}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


HOW = ["--set", "template={q}: {a}", "--set", 'answers=["a"]', "--tokenizer", "char"]


@pytest.mark.parametrize("point", [
    pytest.param(point, id=f"{point[1]}-{point[2]}-{point[3]}", marks=() if point in QUICK else pytest.mark.slow)
    for point in POINTS
])  # fmt: skip
@pytest.mark.parametrize("more", [
    pytest.param([], id="all", marks=pytest.mark.slow), pytest.param(["--dedup"], id="dedup", marks=pytest.mark.slow),
    pytest.param(["--weights", "3,1,1", "--dedup"], id="weights"),
])  # fmt: skip
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    records: Path, point: tuple[str, str, str, int], more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prepare", "jsonl", "0.jsonl", "1.jsonl", "2.jsonl", *HOW, *more, "--threads", "2"]
    killed(records, point, [*words, "--out", "out"])
    assert not (records / "out").exists()
    assert main([*words, "--out", "out"]) == 0
    told, has_begun = capsys.readouterr().err, point != POINTS[0]
    assert ("an unfinished preparation goes on" in told) == has_begun and "anew" not in told
    assert main([*words, "--out", "undisturbed"]) == 0
    assert contents(records / "out") == contents(records / "undisturbed")
    assert not list(records.glob(".*"))


def test_killed_behind_the_rename_it_is_done(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "jsonl", "0.jsonl", *HOW, "--out", "out"]
    killed(records, ("cllm.data.prepare", "rename", "after", 1), words)
    assert (records / "out" / "train.tokens").exists() and main(words) == 1
    assert "is there already" in capsys.readouterr().err


def test_killed_over_and_over_it_comes_to_its_end(records: Path) -> None:
    words = ["prepare", "jsonl", "0.jsonl", "1.jsonl", *HOW]
    for _ in range(3):
        killed(records, ("cllm.data.journal", "Work.keep", "after", 12), [*words, "--out", "out"])
    assert main([*words, "--out", "out"]) == 0 == main([*words, "--out", "undisturbed"])
    assert contents(records / "out") == contents(records / "undisturbed")


# In one process: Ctrl-C is an exception.


def test_ctrl_c_says_what_to_do(
    records: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(journal, "EVERY_SECONDS", 0.0)
    add, n = Spool.add, 0

    def interrupted(*given: Any) -> None:
        nonlocal n
        n += 1
        if n == 20:
            raise KeyboardInterrupt
        add(*given)

    words = ["prepare", "jsonl", "0.jsonl", *HOW, "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "add", interrupted)
        assert main([*words, "out"]) == 130
    assert "cllm: stopped; the same command goes on from what is done" in capsys.readouterr().err
    # A source tree in which it stands does not take it for source.
    (records / ".gitignore").write_text("*.jsonl\n.gitignore\n")
    (records / "a.py").write_text("pass\n")
    [source] = RepoDataset(RepoConfig(source=str(records))).documents()
    assert source.text == "pass\n"
    assert main([*words, "out"]) == 0 == main([*words, "undisturbed"])
    assert contents(records / "out") == contents(records / "undisturbed")


class Stopping:
    """A dataset that is interrupted before a piece, the first time that it comes to it."""

    def __init__(self, documents: Any, piece: int, error: BaseException) -> None:
        self.inner, self.piece, self.error = documents, piece, error

    def documents(self) -> Iterator[Document]:
        for number, document in enumerate(self.inner.documents()):
            if number == self.piece:
                raise self.error
            yield document


LONG = Marked([("abc é" * 8, [(0, 3), (20, 40)]), ("de" * 20, [(1, 2)]), ("abc é" * 8, [(5, 9)])], range(3, 40, 3))


@pytest.fixture(autouse=True)
def journal_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "EVERY_SECONDS", 0.0)


def left(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def stopped(job: Job, out: Path, identity: str = "one", error: BaseException | None = None, piece: int = 20) -> None:
    error = error or KeyboardInterrupt()
    [dataset] = job.datasets
    stopping = Job([Stopping(dataset, piece, error)], job.tokenizer, job.validation, dedup=job.dedup)
    with pytest.raises(type(error)):
        run_resumable(stopping, out, identity, lambda _: None)


@pytest.mark.parametrize("dedup", [False, True])
@pytest.mark.parametrize("piece", range(0, 36, 3))
def test_interrupted_within_a_document(tmp_path: Path, piece: int, dedup: bool) -> None:
    job = Job([LONG], ByteTokenizer, 0.3, dedup=dedup)
    stopped(job, tmp_path / "out", piece=piece)
    told: list[str] = []
    run_resumable(job, tmp_path / "out", "one", told.append)
    run_once(job, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert len(told) <= 1 and not left(tmp_path / "out").exists()
    if piece > 20:
        assert "goes on" in told[0]


@pytest.mark.parametrize("dedup", [False, True])
def test_interrupted_in_what_is_held_out_and_behind_it(tmp_path: Path, dedup: bool) -> None:
    held_out = Texts([f"held out {n % 5}" for n in range(9)])
    for piece in range(0, 36, 9):
        out = tmp_path / f"out-{piece}"
        for validation in (Stopping(held_out, piece, KeyboardInterrupt()), held_out):
            job = Job([LONG if validation is held_out else Stopping(LONG, piece, KeyboardInterrupt())], ByteTokenizer,
                      validation, dedup=dedup)
            try:
                run_resumable(job, out, "one", lambda _: None)
            except KeyboardInterrupt:
                continue
    run_once(Job([LONG], ByteTokenizer, held_out, dedup=dedup), tmp_path / "whole")
    for piece in range(0, 36, 9):
        assert contents(tmp_path / f"out-{piece}") == contents(tmp_path / "whole")


def test_what_was_learned_is_kept_and_compared(tmp_path: Path) -> None:
    stopped(Job([LONG], CharTokenizer), tmp_path / "early", piece=3)  # while it learns: nothing is done
    assert not left(tmp_path / "early").exists()

    class OnceOnly(Stopping):
        """It is read to its end to learn, and interrupted in the second reading."""

        n = 0

        def documents(self) -> Iterator[Document]:
            self.n += 1
            return super().documents() if self.n == 2 else self.inner.documents()

    with pytest.raises(KeyboardInterrupt):
        run_resumable(Job([OnceOnly(LONG, 20, KeyboardInterrupt())], CharTokenizer), tmp_path / "out", "one", print)
    assert (left(tmp_path / "out") / "learned.json").exists()
    # Behind the place where it was stopped a character comes that was not learned.
    other = Marked([*LONG.documents_, ("z", [])], LONG.cuts)
    told: list[str] = []
    with pytest.raises(TokenizerError, match="character 'z'"):
        run_resumable(Job([other], CharTokenizer), tmp_path / "out", "one", told.append)
    less = Marked(LONG.documents_[:2], LONG.cuts)
    with pytest.raises(KeyboardInterrupt):
        run_resumable(Job([OnceOnly(LONG, 20, KeyboardInterrupt())], CharTokenizer), tmp_path / "out", "one", print)
    run_resumable(Job([less], CharTokenizer), tmp_path / "out", "one", told.append)
    run_once(Job([less], CharTokenizer), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert told[-1] == "the text is not that of the unfinished preparation; this one begins anew"


CHANGES = {
    "another letter": Marked([("xbc é" * 8, [(0, 3), (20, 40)]), *LONG.documents_[1:]], LONG.cuts),
    "other answers": Marked([(LONG.documents_[0][0], [(0, 4), (20, 40)]), *LONG.documents_[1:]], LONG.cuts),
    "less": Marked(LONG.documents_[:1], LONG.cuts),
    "other borders": Marked([(LONG.documents_[0][0] + LONG.documents_[1][0], [(0, 3), (20, 40), (41, 42)])], LONG.cuts),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_text_begins_anew_and_says_so(tmp_path: Path, change: str) -> None:
    stopped(Job([LONG], ByteTokenizer), tmp_path / "out")
    told: list[str] = []
    run_resumable(Job([CHANGES[change]], ByteTokenizer), tmp_path / "out", "one", told.append)
    assert told[-1] == "the text is not that of the unfinished preparation; this one begins anew"
    run_once(Job([CHANGES[change]], ByteTokenizer), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_options_begin_anew_and_say_so(tmp_path: Path) -> None:
    stopped(Job([LONG], ByteTokenizer), tmp_path / "out")
    told: list[str] = []
    run_resumable(Job([LONG], ByteTokenizer, 0.5), tmp_path / "out", "two", told.append)
    assert told == ["an unfinished preparation with other options was there; this one begins anew"]


def test_a_typed_error_leaves_nothing(tmp_path: Path) -> None:
    stopped(Job([LONG], ByteTokenizer), tmp_path / "out", error=DataError("a", "b", "c", "d"))
    assert not list(tmp_path.iterdir())
    stopped(Job([LONG], ByteTokenizer), tmp_path / "out")
    assert left(tmp_path / "out").exists()
    stopped(Job([LONG], ByteTokenizer), tmp_path / "out", error=DataError("a", "b", "c", "d"), piece=30)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tokens.spool", "starts.spool", "answers.spool", "journal.json"])
@pytest.mark.parametrize("content", [b"", None])
def test_a_hidden_folder_that_is_damaged(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Nobody goes on with it."""
    stopped(Job([LONG], ByteTokenizer), tmp_path / "out", piece=30)
    path = left(tmp_path / "out") / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    told: list[str] = []
    run_resumable(Job([LONG], ByteTokenizer), tmp_path / "out", "one", told.append)
    run_once(Job([LONG], ByteTokenizer), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert name == "journal.json" or told[-1].endswith(f"{name} is not as it was left; this one begins anew")


def test_two_at_once_do_not_spoil_each_other(tmp_path: Path) -> None:
    class Meanwhile(Texts):
        def documents(self) -> Iterator[Document]:
            for document in super().documents():
                with pytest.raises(DataError, match=f"in use by process {os.getpid()}"):
                    run_resumable(Job([LONG], ByteTokenizer), tmp_path / "out", "one", lambda _: None)
                yield document

    run_resumable(Job([Meanwhile(["a", "b"])], ByteTokenizer), tmp_path / "out", "one", lambda _: None)
    prepare(Texts(["a", "b"]), ByteTokenizer, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_lock_whose_folder_was_removed_is_none(tmp_path: Path) -> None:
    first = Work(tmp_path / "out", "one")
    assert first._lock.is_there
    first.remove()
    second = Work(tmp_path / "out", "one")
    assert second._lock.is_there and second.folder.exists()
    second.remove()
    assert not list(tmp_path.iterdir())
