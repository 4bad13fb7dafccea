"""What is said of a run: that it goes on, has ended, stands, or seems to hang. Nothing of it is touched for that."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cllm
from cllm.folderlock import FolderLock, holder_of
from cllm.hooks.manager import build_manager
from cllm.jsonl import line_of
from cllm.reporting import look_at
from cllm.reporting.state import State, state_of
from tests.hooks.values import a_report
from tests.runs import config, train
from tests.test_patience import STALE

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps that has ended."""
    folder = tmp_path_factory.mktemp("state")
    train(config(folder), folder / "run")
    return folder / "run"


@pytest.fixture
def run(ended: Path, tmp_path: Path) -> Path:
    """A copy with its first seven steps, the last of which came a second before NOW."""
    shutil.copytree(ended, tmp_path / "run")
    keep(tmp_path / "run", 7)
    return tmp_path / "run"


@pytest.fixture
def held(run: Path) -> Iterator[Path]:
    """The same, in which somebody trains."""
    lock = FolderLock(run / "lock")
    os.utime(run / "lock", (NOW - 100, NOW - 100))
    yield run
    lock.release()


def keep(run: Path, n_lines: int, *more: bytes) -> None:
    path = run / "metrics.jsonl"
    path.write_bytes(b"".join([*path.read_bytes().splitlines(keepends=True)[:n_lines], *more]))
    for name in ("metrics.jsonl", "lock"):
        os.utime(run / name, (NOW - 1, NOW - 1))


def said(run: Path, later: float = 0.0) -> State:
    return state_of(look_at(run, build_manager()), NOW + later)


def test_a_run_that_goes_on_says_how_long_it_will_take(held: Path) -> None:
    keep(held, 7, line_of(vars(a_report(step=8, eta_seconds=65.0))).encode() + b"\n")
    assert said(held) == State("on", "goes on, about 1:05 to go.")
    keep(held, 7, line_of(vars(a_report(step=8, eta_seconds=float("nan")))).encode() + b"\n")
    assert said(held) == State("on", "goes on.")


def test_a_run_that_has_been_silent_for_long_seems_to_hang(held: Path) -> None:
    assert said(held, 58.0).kind == "on"
    found = said(held, 60.0)
    assert found.kind == "silent" and "no report for 1:01, where the slowest of the last steps took" in found.text


def test_a_run_whose_steps_are_slow_has_more_time(held: Path) -> None:
    keep(held, 7, line_of(vars(a_report(step=8, seconds=30.0))).encode() + b"\n")
    assert (said(held, 590.0).kind, said(held, 600.0).kind) == ("on", "silent")


def test_whoever_prepares_or_saves_does_not_hang(held: Path, ended: Path) -> None:
    keep(held, 0)
    assert said(held, 299.0) == State("on", "has begun 5:00 ago, and has reported no step yet.")
    shutil.copy(ended / "metrics.jsonl", held)
    keep(held, 12)
    assert said(held) == State("on", "makes an end: all steps are made.")


def test_a_run_that_ended_and_one_that_was_left(run: Path, ended: Path) -> None:
    assert said(ended) == State("ended", "has ended: all steps are made.")
    assert said(run) == State("stopped", "stands at step 7 of 12: no process trains there.")
    keep(run, 0)
    assert said(run) == State("stopped", "has reported no step, and no process trains there.")
    (run / "lock").unlink()  # as in a copy
    (run / "metrics.jsonl").unlink()
    assert said(run).kind == "stopped"


def test_a_run_that_a_check_stopped(run: Path) -> None:
    keep(run, 7, line_of(vars(a_report(step=7, decision="abort", reasons=("finite: nan",)))).encode() + b"\n")
    assert said(run) == State("stopped", "was stopped by a check at step 7 of 12.")


def test_a_run_that_had_no_more_patience(tmp_path: Path) -> None:
    train(config(tmp_path, *STALE), tmp_path / "run")
    assert said(tmp_path / "run") == State(
        "ended", "has ended: the validation loss has not fallen for 2 evaluations.",
    )


def test_a_run_on_another_machine_is_judged_by_its_reports(run: Path, ended: Path) -> None:
    (run / "lock").write_text("process 1 on another\n")
    keep(run, 7)
    assert said(run).kind == "on" and "process 1 on another, which is not seen from here" in said(run).text
    assert said(run, 60.0).kind == "silent"
    shutil.copy(ended / "metrics.jsonl", run)
    assert said(run).kind == "ended"


def test_the_holder_of_a_lock_is_seen_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder_of(path) is None
    code = "import sys; from pathlib import Path; from cllm.folderlock import FolderLock\n" \
           "lock = FolderLock(Path(sys.argv[1])); print(1, flush=True); sys.stdin.readline(); lock.release()\n" \
           "print(2, flush=True); sys.stdin.readline()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        seen = []
        for _ in range(2):
            process.stdout.readline()
            seen.append(holder_of(path))
            process.stdin.write(b"\n")
            process.stdin.flush()
        process.wait()
    seen.append(holder_of(path))
    assert [(who.process, who.host, who.is_there) for who in seen if who] == [
        (process.pid, socket.gethostname(), is_there) for is_there in (True, False, False)
    ]


@pytest.mark.parametrize(
    "text", [b"", b"process 0 on here\n", b"process 99999999999 on here\n", b"\xff", b"process 1 on"]
)
def test_a_lock_that_names_nobody(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(text)
    assert holder_of(tmp_path / "lock") is None


def test_a_trainer_that_is_stopped_half_way_gives_the_folder_back(tmp_path: Path) -> None:
    with cllm.Trainer(config(tmp_path), tmp_path / "run") as trainer:
        next(iter(trainer))
        assert state_of(look_at(tmp_path / "run", build_manager()), 0.0).kind == "on"
    assert state_of(look_at(tmp_path / "run", build_manager()), 0.0).kind == "stopped"
