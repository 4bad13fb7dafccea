"""Whole runs under mpiexec: the digest of one process, and how they end where a rank does."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from launching import CONFIG, TEXT, Job, cllm, digest, train

SOON = 15.0  # seconds; a moment on a machine that has nothing else to do


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT)
    Path("run.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of one process without MPI."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("alone"))
        Path("text.txt").write_text(TEXT)
        Path("run.toml").write_text(CONFIG)
        train(0, "run", "--set", "dist.communicator=single")
        return digest("run")


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4, 8])
def test_the_digest_of_one_process(n_ranks: int, n_threads: int, alone: str, folder: Path) -> None:
    done = train(n_ranks, "run", "--threads", str(n_threads))
    assert digest("run") == alone
    assert done.stdout.count("What the model writes") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["run", "run.toml", "text.txt"]
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 12


def test_a_reducer_that_sees_all_shards() -> None:
    option = ("--set", "reducer.name=ordered")
    train(1, "alone", *option)
    train(3, "run", *option)
    assert digest("run") == digest("alone")


def test_a_killed_rank_ends_the_job_and_other_ranks_go_on(alone: str) -> None:
    job = Job(3, "run")
    job.wait_for(20)
    seconds = job.signal(job.ranks()[-1], signal.SIGKILL)
    assert seconds < SOON and job.code != 0
    made = max(int(path.name[5:]) for path in Path("run/checkpoints").iterdir() if path.name.startswith("step-"))
    more = ("--set", f"train.steps={made + 5}", "--set", "train.eval_every=0")
    for n_ranks, copy in ((2, "two"), (0, "none")):
        assert cllm(0, "verify", "run").returncode == 0
        Path(copy).mkdir()
        copied = Path("run")
        for path in copied.rglob("*"):
            target = Path(copy) / path.relative_to(copied)
            target.mkdir(exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
        option = ("--set", "dist.communicator=single") if not n_ranks else ()
        done = cllm(n_ranks, "train", "--resume", copy, "--threads", "1", *more, *option)
        assert done.returncode == 0, done.stderr
    assert digest("two") == digest("none")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_one_rank_stops_all_at_one_step(number: signal.Signals, code: int) -> None:
    job = Job(2, "run")
    job.wait_for(20)
    assert job.signal(job.ranks()[-1], number) < SOON
    assert job.code in (code, 130 | code)
    assert job.errors.count("go on with: cllm train --resume run") == 1
    assert cllm(0, "verify", "run").returncode == 0


# A check that decides, and one that lets a rank go astray: by the rank that MPI has given it.
CHECKS = """
import os
from cllm.hooks import Abort, CheckSpec, DropShards, Ok, SkipStep, hookimpl

RANK = int(os.environ["PMI_RANK"]) if "PMI_RANK" in os.environ else 0

class Deciding:
    def after_reduction(self, view):
        if view.batch_index == 2:
            return SkipStep("odd")
        if view.batch_index == 4 and not view.dropped:
            return DropShards((1, 5), "odd")
        return Ok()

class Aborting:
    def after_reduction(self, view):
        return Abort("enough") if view.batch_index == 6 else Ok()

class Astray:
    def after_reduction(self, view):
        return SkipStep("mine alone") if view.batch_index == 3 and RANK == 1 else Ok()

class Dying:
    def after_reduction(self, view):
        if view.batch_index == 3 and RANK == 1:
            os._exit(9)
        return Ok()

@hookimpl
def cllm_register_stability_checks():
    for check in (Deciding, Aborting, Astray, Dying):
        yield CheckSpec(check.__name__.lower(), "for a test", check)
"""


def checked(n_ranks: int, out: str, check: str) -> tuple[int, str]:
    Path("checks.py").write_text(CHECKS)
    words = ("train", "run.toml", "--out", out, "--threads", "1", "-p", "./checks.py", "--set", f"checks.{check}=true")
    done = cllm(n_ranks, *words)
    return done.returncode, done.stderr


def test_skipped_batches_and_dropped_shards_are_those_of_one_process() -> None:
    assert checked(1, "alone", "deciding")[0] == 0
    assert checked(3, "run", "deciding")[0] == 0
    assert digest("run") == digest("alone")
    assert Path("run/ledger.jsonl").read_bytes() == Path("alone/ledger.jsonl").read_bytes()


def test_an_abort_is_told_once() -> None:
    code, errors = checked(3, "run", "aborting")
    assert code == 17
    assert errors.count("step 7: aborting: enough") == 1
    assert "the state after step 6 is saved in run" in errors


def test_a_rank_that_decides_otherwise_stops_all() -> None:
    code, errors = checked(3, "run", "astray")
    assert code == 1
    assert errors.count("cllm: ranks: rank 1 at 'gradient' after step 3, batch 3: skip") == 1


def test_a_rank_that_ends_in_the_middle_of_a_step_stops_all() -> None:
    code, _ = checked(3, "run", "dying")
    assert code != 0


def test_fast_says_what_it_gives_up() -> None:
    done = train(3, "run", "--set", "dist.fast=true")
    assert "fast: bits depend on the number of ranks, 3, and are not promised" in done.stderr
    assert "fast = true" in Path("run/config.toml").read_text()
    records = [json.loads(line) for line in Path("run/ledger.jsonl").read_text().splitlines()]
    assert [record["ranks"] for record in records if record.get("event") == "fast"] == [3]
    refused = cllm(2, "train", "run.toml", "--out", "no", "--set", "dist.fast=true", "--set", "reducer.name=ordered")
    assert refused.returncode == 2 and refused.stderr.count("fast = true with the reducer OrderedReducer") == 1
    assert not Path("no").exists()
