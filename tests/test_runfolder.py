"""Run folders: made fresh and without races, held by one process, cleaned and cut on resume."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from cllm import checkpoint
from cllm.errors import RunFolderError
from cllm.ledger import Record
from cllm.runfolder import RunFolder
from tests.saving import FACTS, state_at
from tests.test_atomic import failing


def finished(tmp_path: Path) -> Path:
    """A folder in which a run has trained for 4 steps."""
    with RunFolder.create(tmp_path / "runs", "book") as run:
        run.write_config("x = 1\n")
        metrics, ledger = run.open_metrics(), run.open_ledger()
        for step in range(1, 5):
            metrics.write({"step": step, "batch_index": step - 1, "loss": 1 / step})
            ledger.append(Record(step, step, state_at(step).digest()))
        checkpoint.save(run.checkpoints, state_at(2), FACTS)
        metrics.close()
        ledger.close()
        return run.path


def test_runs_get_the_next_number(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        with RunFolder.create(tmp_path, "book") as run:
            assert run.path == tmp_path / f"book-{number}"
    (tmp_path / "book-41").touch()
    (tmp_path / "book-x").mkdir()
    (tmp_path / "booklet-99").mkdir()
    with RunFolder.create(tmp_path, "book") as run:
        assert run.path.name == "book-42"
    with RunFolder.create(tmp_path, "let") as run:
        assert run.path.name == "let-1"


def test_runs_started_at_once_never_share_a_folder(tmp_path: Path) -> None:
    paths: list[Path] = []
    start = threading.Barrier(8)

    def begin() -> None:
        start.wait()
        for _ in range(5):
            with RunFolder.create(tmp_path / "runs", "book") as run:
                paths.append(run.path)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in paths) == sorted(f"book-{number}" for number in range(1, 41))


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\0b", "a\\b"])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunFolderError, match="choose one without slashes"):
        RunFolder.create(tmp_path, name)


@pytest.mark.parametrize("there", [False, True])
def test_out_may_be_absent_or_empty(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "deep" / "out"
    if there:
        out.mkdir(parents=True)
    with RunFolder.create(out=out) as run:
        assert run.path == out
        assert sorted(os.listdir(out)) == ["checkpoints", "lock"]


def test_out_may_hold_what_a_killed_start_left(tmp_path: Path) -> None:
    RunFolder.create(out=tmp_path).close()
    (tmp_path / ".tmp-config.toml-12-ab").touch()
    RunFolder.create(out=tmp_path).close()
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "lock"]


def test_a_used_out_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match=r"is not empty: it has thesis\.tex"):
        RunFolder.create(out=tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    path = finished(tmp_path)
    with pytest.raises(RunFolderError, match=r"is not empty: it has .*--resume"):
        RunFolder.create(out=path)


def test_out_in_use_is_refused(tmp_path: Path) -> None:
    with (
        RunFolder.create(out=tmp_path / "out"),
        pytest.raises(RunFolderError, match="in use by process"),
    ):
        RunFolder.create(out=tmp_path / "out")


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(RunFolderError, match="out is a file; expected an empty folder or a new name; choose another"):
        RunFolder.create(out=tmp_path / "out")


@pytest.mark.parametrize(
    ("code", "words"), [(errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission denied")]
)
def test_a_root_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    monkeypatch.setattr(os, "mkdir", failing(os.mkdir, 1, code))
    with pytest.raises(RunFolderError, match=f"{words}.*write to another folder"):
        RunFolder.create(tmp_path / "runs")


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(RunFolderError, match=r"runs: File exists; expected a folder, or nothing of that name"):
        RunFolder.create(tmp_path / "runs")


def test_a_root_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"Not a directory; expected a folder; choose another path"):
        RunFolder.create(tmp_path / "file" / "runs")


def test_a_full_disk_is_told_when_the_config_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder.create(tmp_path) as run:
        monkeypatch.setattr(os, "write", failing(os.write, 1, errno.ENOSPC))
        with pytest.raises(RunFolderError, match="No space left on device; expected a disk with room"):
            run.write_config("x = 1")
        assert sorted(os.listdir(run.path)) == ["checkpoints", "lock"]


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch], ids=["absent", "empty", "a file"])
@pytest.mark.parametrize("open_", [RunFolder.open, RunFolder.resume])
def test_what_is_no_run_is_refused(tmp_path: Path, make: object, open_: object) -> None:
    path = tmp_path / "run"
    make(path)  # type: ignore[operator]
    with pytest.raises(RunFolderError, match="expected the folder of a run"):
        open_(path)  # type: ignore[operator]


def test_one_process_trains_and_any_may_read(tmp_path: Path) -> None:
    path = finished(tmp_path)
    with RunFolder.resume(path):
        with pytest.raises(RunFolderError, match=f"book-1 is in use by process {os.getpid()}"):
            RunFolder.resume(path)
        assert RunFolder.open(path).newest_checkpoint() == path / "checkpoints" / "step-00000002"
    RunFolder.resume(path).close()


def test_reading_leaves_a_save_under_way_alone_and_resuming_cleans_up(tmp_path: Path) -> None:
    path = finished(tmp_path)
    strays = [path / ".tmp-config.toml-1-ab", path / "checkpoints" / ".tmp-step-00000003-1-ab"]
    for stray in strays:
        stray.mkdir()
    RunFolder.open(path)
    assert all(stray.exists() for stray in strays)
    RunFolder.resume(path).close()
    assert not any(stray.exists() for stray in strays)


def test_a_resumed_run_takes_back_what_was_reported_after_its_checkpoint(tmp_path: Path) -> None:
    path = finished(tmp_path)
    with RunFolder.resume(path) as run:
        run.cut_after(2)
        ledger = run.open_ledger()
        ledger.append(Record(3, 3, "again"))
        ledger.close()
        for file, steps in ((run.metrics_path, [1, 2]), (run.ledger_path, [1, 2, 3])):
            assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == steps


def test_a_run_without_checkpoints_has_no_newest(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path) as run:
        assert run.newest_checkpoint() is None
        assert checkpoint.load_newest(run.checkpoints) is None
    run.checkpoints.rmdir()
    assert run.newest_checkpoint() is None


@pytest.mark.parametrize(("before", "after"), [(b"x = 1", b"x = 2"), (b"# A", b"# B"), (b"\n", b""), (b"1\n", b"1")])
def test_a_config_that_was_altered_is_refused_and_says_what_to_do(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = finished(tmp_path)
    content = (path / "config.toml").read_bytes()
    (path / "config.toml").write_bytes(content.replace(before, after, 1))
    for enter in (RunFolder.open, RunFolder.resume):
        with pytest.raises(RunFolderError, match=r"config\.toml has been altered.*change settings by --set"):
            enter(path)
    (path / "config.toml").write_bytes(content)
    RunFolder.open(path)
