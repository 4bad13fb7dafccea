"""A disk that is full, a folder that cannot be written, one that vanishes: a line says so, and what is left loads."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cllm.cli import main
from tests.cli.test_train import CHILD
from tests.runs import TEXT, digest_of

SMALL = [
    "--set", "model.n_embd=16", "--set", "model.n_layer=1", "--set", "model.block_size=16",
    "--set", "train.batch_size=4", "--set", "train.eval_every=0", "--set", "train.digest_every=1",
    "--set", "schedule.name=constant",
]
TEN = ["--set", "train.steps=10", "--set", "checkpoint.every=1"]


def cllm(
    *words: str | Path, cwd: Path, before: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=60,
        check=False, preexec_fn=before,
    )


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "book.txt").write_text(TEXT)
    return tmp_path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts one with these options, or again with others."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        again = "remount," * place.is_mount()
        mounted = ["mount", "-t", "tmpfs", "-o", f"{again}{options}", "none", str(place)]
        if shutil.which("mount") is None or subprocess.run(mounted, capture_output=True, check=False).returncode:
            pytest.skip("no file system may be mounted here")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "-l", str(place)], check=True)


def the_line(errors: str) -> str:
    """The one that ends a failed command; there is no traceback."""
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith("cllm: ") and "warning" not in line][-1]


def test_a_full_disk_ends_the_run_and_costs_no_step_that_was_saved(
    book: Path, small_disk: Callable[[str], Path]
) -> None:
    undisturbed = cllm("train", "--data", "book.txt", *SMALL, *TEN, "--out", "whole", cwd=book)
    assert undisturbed.returncode == 0, undisturbed.stderr
    run = small_disk("size=240k") / "run"  # data and two checkpoints fit, a third does not
    ended = cllm("train", "--data", "book.txt", *SMALL, *TEN, "--out", run, cwd=book)
    assert ended.returncode == 1, ended.stderr
    line = the_line(ended.stderr)
    assert "No space left on device" in line and "free some space" in line
    assert any((run / "checkpoints").iterdir())
    assert main(["verify", str(run)]) == 0
    small_disk("size=10m")
    resumed = cllm("train", "--resume", run, cwd=book)
    assert resumed.returncode == 0, resumed.stderr
    assert digest_of(run) == digest_of(book / "whole")


def test_a_limit_on_files_is_told_with_a_remedy(book: Path) -> None:
    """As a full disk, where nothing may be mounted."""
    begun = cllm("train", "--data", "book.txt", *SMALL, "--set", "train.steps=2", "--out", "run", cwd=book)
    assert begun.returncode == 0, begun.stderr
    before = digest_of(book / "run")
    ended = cllm(
        "train", "--resume", "run", "--set", "train.steps=4", cwd=book,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert ended.returncode == 1, ended.stderr
    assert "File too large" in the_line(ended.stderr) and "ulimit -f" in the_line(ended.stderr)
    assert digest_of(book / "run") == before
    assert main(["verify", str(book / "run")]) == 0


def test_a_run_that_cannot_be_written_can_be_looked_at_and_not_resumed(
    book: Path, small_disk: Callable[[str], Path]
) -> None:
    run = small_disk("size=10m") / "run"
    begun = cllm("train", "--data", "book.txt", *SMALL, "--set", "train.steps=2", "--out", run, cwd=book)
    assert begun.returncode == 0, begun.stderr
    small_disk("ro")
    for words in (["digest"], ["verify"], ["eval"], ["diff", run], ["generate", "--tokens", "3"]):
        assert (looked := cllm(words[0], run, *words[1:], cwd=book)).returncode == 0, looked.stderr
    for words in (["--resume", run], ["--data", "book.txt", *SMALL, *TEN, "--out", run.parent / "other"]):
        ended = cllm("train", *words, cwd=book)
        assert ended.returncode == 1
        assert "Read-only file system" in the_line(ended.stderr) and "write to another folder" in the_line(ended.stderr)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="who may all is refused nothing")
def test_a_run_of_somebody_else_can_be_looked_at(book: Path) -> None:
    begun = cllm("train", "--data", "book.txt", *SMALL, "--set", "train.steps=2", "--out", "run", cwd=book)
    assert begun.returncode == 0, begun.stderr
    for path in (book / "run", *(book / "run").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert main(["verify", str(book / "run")]) == 0
        ended = cllm("train", "--resume", "run", "--set", "train.steps=4", cwd=book)
        assert (ended.returncode, "Permission denied" in the_line(ended.stderr)) == (1, True)
    finally:
        for path in (book / "run", *(book / "run").rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("gone", ["", "checkpoints"])
def test_a_folder_that_vanishes_ends_the_run_at_its_next_save(
    book: Path, gone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", "book.txt", *SMALL, "--set", "train.steps=1000000", "--set", "checkpoint.every=50"]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *words, "--set", "train.log_every=1", "--out", "run"], cwd=book,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()  # training has begun
        vanish(book / "run" / gone)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    line = the_line(errors)
    assert line.startswith("cllm: checkpoint: cannot use run/checkpoints") and "No such file or directory" in line
    if gone:  # the rest is as it was
        assert main(["verify", str(book / "run")]) == 1
        assert capsys.readouterr().out.startswith("checkpoints: it is missing; restore it")
        assert cllm("train", "--resume", "run", "--set", "train.steps=3", cwd=book).returncode == 0


def vanish(folder: Path) -> None:
    """The run may be writing there."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.001)
