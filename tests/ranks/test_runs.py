"""Whole runs of several ranks: the digests of one process, and one end for all, however it comes."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm import ledger, machine
from cllm.assemble import open_run_data
from cllm.errors import CheckpointError, ConfigError, InstabilityAbort, RankError, RunFolderError
from cllm.hooks.manager import build_manager
from cllm.hooks.verdicts import Abort, DropShards, Ok, Rewind, SkipStep
from cllm.outcomes import ENDINGS
from cllm.ranks import hand_over, join
from tests import runs
from tests.ranks.crowd import Crowd, Member, each, train, trainer
from tests.runs import config, digest_of
from tests.test_golden import OVERRIDES, RUNS
from tests.test_trainer import Verdict


def only_rank_0_wrote(folder: Path) -> bool:
    return sorted(path.name for path in folder.iterdir()) == ["run", "text.txt"]


@pytest.mark.parametrize("n_ranks", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["plain", "dropout"])
def test_golden_runs(name: str, n_ranks: int, tmp_path: Path) -> None:
    settings = config(tmp_path, OVERRIDES[name], "train.threads=1")
    reports = train(n_ranks, settings, tmp_path / "run")
    assert digest_of(tmp_path / "run") == RUNS[name]
    assert only_rank_0_wrote(tmp_path)
    for others in reports[1:]:
        assert [report.digest for report in others] == [report.digest for report in reports[0]]
        assert [report.validation_loss for report in others] == [report.validation_loss for report in reports[0]]


def test_the_ledger_and_the_metrics_are_those_of_one_process(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.threads=1")
    runs.train(settings, tmp_path / "alone", plugins=build_manager(installed=False))
    train(3, settings, tmp_path / "run")
    assert (tmp_path / "run/ledger.jsonl").read_bytes() == (tmp_path / "alone/ledger.jsonl").read_bytes()
    one, other = (
        [(line["loss"], line["gradient_norm"], line["validation_loss"]) for line in map(json.loads, lines)]
        for lines in ((tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("alone", "run"))
    )
    assert one == other


@pytest.mark.parametrize("ranks", [(1, 3), (4, 2), (3, 1)])
def test_a_run_goes_on_with_another_number_of_ranks(ranks: tuple[int, int], tmp_path: Path) -> None:
    settings = config(tmp_path, OVERRIDES["plain"], "train.threads=1")

    def leave_half_way(member: Member) -> None:
        with trainer(member, settings, tmp_path / "run") as made:
            next(report for report in made if report.step == 7)

    assert each(Crowd(ranks[0]), leave_half_way) == [None] * ranks[0]
    reports = train(ranks[1], settings, None, resume=tmp_path / "run")
    assert [one[0].step for one in reports] == [6] * ranks[1]  # the newest checkpoint is of step 5
    assert digest_of(tmp_path / "run") == RUNS["plain"]


def test_weights_of_another_run_reach_every_rank(tmp_path: Path) -> None:
    runs.train(config(tmp_path, "train.threads=1"), tmp_path / "before")
    settings = config(tmp_path, "train.threads=1", "train.seed=5")
    runs.train(settings, tmp_path / "alone", init_from=tmp_path / "before")
    train(2, settings, tmp_path / "run", init_from=tmp_path / "before")
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "alone")


# --- decisions --------------------------------------------------------------------------------------------------

ANSWERS: dict[str, Any] = {
    "skip": {3: SkipStep("odd")},
    "drop": {2: DropShards((1,), "odd"), 4: DropShards((0, 2), "odd")},
    "rewind": {8: Rewind("odd", 2)},
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_decisions_are_taken_alike(kind: str, tmp_path: Path) -> None:
    class Once(Verdict):
        def after_reduction(self, view: Any) -> Any:
            return Ok() if view.dropped else super().after_reduction(view)

    settings = config(tmp_path, "train.threads=1")
    plugins = build_manager(installed=False)
    with cllm.Trainer(settings, tmp_path / "alone", plugins=plugins, checks=[Once(ANSWERS[kind])]) as alone:
        decisions = [report.decision for report in alone]
    assert kind in decisions
    for n_ranks in (2, 3):
        run = tmp_path / f"run{n_ranks}"
        reports = train(n_ranks, settings, run, checks=[Once(ANSWERS[kind])])
        assert [[report.decision for report in one] for one in reports] == [decisions] * n_ranks
        assert (run / "ledger.jsonl").read_bytes() == (tmp_path / "alone/ledger.jsonl").read_bytes()
        assert digest_of(run) == digest_of(tmp_path / "alone")
        assert (run / "incidents").exists() == (tmp_path / "alone/incidents").exists()


def test_an_abort_ends_all_and_is_told_once(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.threads=1")
    errors = train(3, settings, tmp_path / "run", checks=[Verdict({6: Abort("enough")})])
    assert [type(error) for error in errors] == [InstabilityAbort] * 3
    assert [error.is_echo for error in errors] == [False, True, True]
    assert "the state after step 6 is saved" in errors[0].todo
    assert len(list((tmp_path / "run/incidents").glob("step-*"))) == 1
    runs.train(settings, None, resume=tmp_path / "run")
    runs.train(settings, tmp_path / "alone")
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "alone")


def test_a_nan_in_the_shard_of_one_rank_is_found_by_all(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.threads=1", "train.inject_nan=3")
    errors = train(2, settings, tmp_path / "run")
    assert [type(error) for error in errors] == [InstabilityAbort] * 2
    assert "first non-finite" in errors[0].came


def test_a_stop_of_one_rank_ends_all_at_one_step(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.threads=1")

    def run(member: Member) -> Any:
        steps = []
        with trainer(member, settings, tmp_path / "run") as made:
            try:
                for report in made:
                    steps.append(report.step)
                    if member.rank == 2 and report.step == 4:
                        made.stop()
            except KeyboardInterrupt:
                return steps, made.state.step, made.is_saved
        return None

    assert each(Crowd(3), run) == [([1, 2, 3, 4], 4, True)] * 3
    train(2, settings, None, resume=tmp_path / "run")
    runs.train(settings, tmp_path / "alone")
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "alone")


# --- what must not end in waiting -------------------------------------------------------------------------------


def ended(n_ranks: int, settings: Any, folder: Path, at: Any) -> list[Any]:
    """at(trainer, rank, report) is called after every step."""

    def run(member: Member) -> None:
        with trainer(member, settings, folder) as made:
            for report in made:
                at(made, member.rank, report)

    return each(Crowd(n_ranks), run)


def test_a_rank_that_computes_something_else_is_named(tmp_path: Path) -> None:
    def flip(made: cllm.Trainer, rank: int, report: Any) -> None:
        if rank == 1 and report.step == 4:  # as a bit of its memory might
            made.state.parameters.view(np.uint32)[17] ^= 1 << 12

    errors = ended(3, config(tmp_path, "train.threads=1"), tmp_path / "run", flip)
    assert [type(error) for error in errors] == [RankError] * 3
    assert [error.is_echo for error in errors] == [False, True, True]
    assert errors[0].came.startswith("rank 1 at") and "; ranks 0, 2 at" in errors[0].came
    assert digest_of(tmp_path / "run")  # step 5 was not saved from a state in doubt, or the run ends earlier


def test_a_digest_finds_what_no_loss_shows(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.threads=1", "train.digest_every=2")

    def spoil(made: cllm.Trainer, rank: int, report: Any) -> None:
        if rank == 0 and report.step == 5:
            moments = made.parts.optimizer.state_dict()
            next(value for value in moments.values() if isinstance(value, np.ndarray)).view(np.uint32)[3] ^= 1

    errors = ended(2, settings, tmp_path / "run", spoil)
    assert [type(error) for error in errors] == [RankError] * 2
    assert "step 6" in errors[0].came


def test_an_error_of_one_rank_ends_all_and_the_state_is_saved(tmp_path: Path) -> None:
    def fail(made: cllm.Trainer, rank: int, report: Any) -> None:
        if rank == 1 and report.step == 4:
            raise ValueError("a bug of somebody's")

    errors = ended(3, config(tmp_path, "train.threads=1"), tmp_path / "run", fail)
    assert [type(error) for error in errors] == [RankError, ValueError, RankError]
    assert errors[0].came == "rank 1 ended: ValueError: a bug of somebody's"
    assert "the state after step 4 is saved" in errors[0].todo


def test_a_disk_that_fills_on_rank_0_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise CheckpointError("checkpoint", "no space left", "space", "make some")

    monkeypatch.setattr("cllm.checkpoint.save", full)
    errors = ended(2, config(tmp_path, "train.threads=1"), tmp_path / "run", lambda *_: None)
    assert [type(error) for error in errors] == [CheckpointError, RankError]
    assert errors[1].is_echo


def test_who_leaves_early_is_missed(tmp_path: Path) -> None:
    def leave(made: cllm.Trainer, rank: int, report: Any) -> None:
        if rank == 1 and report.step == 3:
            raise KeyboardInterrupt  # a third one, which breaks in

    errors = ended(2, config(tmp_path, "train.threads=1"), tmp_path / "run", leave)
    assert isinstance(errors[0], RankError) and "rank 1 at 'the end' after step 3" in errors[0].came


@pytest.mark.parametrize("override", ["optimizer.learning_rate=0.5", "train.steps=7", "checkpoint.every=2"])
def test_ranks_with_different_configs_do_not_begin(override: str, tmp_path: Path) -> None:
    settings = [config(tmp_path), config(tmp_path, override)]
    errors = each(Crowd(2), lambda member: trainer(member, settings[member.rank], tmp_path / "run"))
    assert [type(error) for error in errors] == [RankError] * 2
    assert only_text(tmp_path)


def only_text(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["text.txt"]


def test_what_rank_0_cannot_begin_nobody_does(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    errors = train(2, config(tmp_path), tmp_path / "run")
    assert [type(error) for error in errors] == [RunFolderError, RankError]
    assert (errors[1].is_echo, errors[1].exit_code) == (True, RunFolderError.exit_code)


def test_an_error_of_all_is_told_by_one(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.batch_size=2", "reducer.name=tree", "optimizer.learning_rate=fast")
    errors = train(2, settings, tmp_path / "run")
    assert [type(error) for error in errors] == [ConfigError, RankError]
    assert (errors[1].is_echo, errors[1].exit_code) == (True, ConfigError.exit_code)
    assert only_text(tmp_path)


def test_a_slow_rank_finds_the_data_and_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(config: Any, plugins: Any, cache: Path) -> Any:
        if plugins.make_communicator(config).rank == 1:
            time.sleep(0.3)  # while rank 0 meets its error
        return open_run_data(config, plugins, cache)

    monkeypatch.setattr("cllm.together.open_run_data", late)
    errors = train(2, config(tmp_path, "train.batch_size=2", "optimizer.learning_rate=fast"), tmp_path / "run")
    assert [type(error) for error in errors] == [ConfigError, RankError]
    assert only_text(tmp_path)


# --- the fast way -----------------------------------------------------------------------------------------------


def test_a_fast_run_says_that_it_keeps_no_promise(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.threads=1")

    def run(member: Member) -> tuple[str, ...]:
        with trainer(member, settings, tmp_path / "run") as made:
            list(made)
            return made.warnings

    warnings = each(Crowd(3, fast=True), run)
    assert "bits depend on the number of ranks" in warnings[0][0]
    assert warnings[1:] == [(), ()]
    events = [record for record in ledger.read(tmp_path / "run/ledger.jsonl") if record.event == "fast"]
    assert [(record.step, record.more["ranks"]) for record in events] == [(0, 3)]


def test_fast_takes_no_reducer_but_a_sum(tmp_path: Path) -> None:
    errors = train(2, config(tmp_path, "reducer.name=ordered"), tmp_path / "run", fast=True)
    assert isinstance(errors[0], ConfigError) and "OrderedReducer" in errors[0].came


# --- threads ----------------------------------------------------------------------------------------------------


def test_after_the_end_nothing_is_asked_of_others(tmp_path: Path) -> None:
    def run(member: Member) -> None:
        with trainer(member, config(tmp_path), tmp_path / "run") as made:
            list(made)
        made.evaluate()

    errors = each(Crowd(2), run)
    assert [type(error) for error in errors] == [RankError] * 2
    assert "'evaluation' after they have parted" in errors[0].came


def test_an_interruption_while_one_begins_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cllm.checkpoint.load_newest", interrupted)  # which rank 0 alone calls
    settings = config(tmp_path)
    runs.train(settings, tmp_path / "run")
    errors = train(2, settings, None, resume=tmp_path / "run")
    assert [type(error) for error in errors] == [KeyboardInterrupt, RankError]


def test_ranks_on_the_same_cores_divide_them(tmp_path: Path) -> None:
    def n_threads(member: Member) -> tuple[int, tuple[str, ...]]:
        with trainer(member, config(tmp_path), tmp_path / "run") as made:
            return made.parts.n_threads, made.warnings

    usable = machine.cores().usable
    found = each(Crowd(4), n_threads)
    assert [n for n, _ in found] == [max(1, usable // 4)] * 4
    assert bool(found[0][1]) == (usable < 4)


def test_more_threads_than_cores_are_warned_of(tmp_path: Path) -> None:
    settings = config(tmp_path, f"train.threads={machine.cores().usable}")

    def warnings(member: Member) -> tuple[str, ...]:
        with trainer(member, settings, tmp_path / "run") as made:
            return made.warnings

    first, second = each(Crowd(2), warnings)
    assert second == () and any("2 ranks" in warning and "cores" in warning for warning in first)


def test_a_state_is_handed_over_whole(tmp_path: Path) -> None:
    """Optimizer, memory of checks, course and cursor: to a rank that has made other steps."""
    settings, turn = config(tmp_path, "train.threads=1"), threading.Lock()

    def run(member: Member) -> str:
        with turn, cllm.Trainer(settings, tmp_path / f"run{member.rank}") as alone:
            for report in alone:
                if report.step == 3 + 2 * member.rank:
                    break
        hand_over(join(member, ENDINGS), alone.state)
        return repr((alone.state.digest(), alone.state.snapshot().checks, alone.state.course, alone.state.step))

    first, second = each(Crowd(2), run)
    assert first == second and first.endswith("3)")
