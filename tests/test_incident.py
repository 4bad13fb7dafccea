"""A step that is stopped: what its receipt says, what it keeps, and that it hides nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm import ledger, receipt
from cllm.errors import IncidentError, InstabilityAbort
from cllm.hooks.manager import build_manager
from cllm.hooks.verdicts import Ok, SkipStep
from cllm.investigation import OTHER, SAME
from cllm.replay import replay
from tests.models import Tree
from tests.runs import TEXT, config, digest_of, train


def receipts(run: Path) -> list[Path]:
    return sorted((run / "incidents").glob("step-*.json"))


def stopped(folder: Path, *overrides: str, **options: Any) -> tuple[InstabilityAbort, Path]:
    """The end of a run that is stopped, and its only receipt."""
    with pytest.raises(InstabilityAbort) as caught:
        train(config(folder, *overrides), folder / "run", **options)
    (path,) = receipts(folder / "run")
    return caught.value, path


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_an_injected_nan_is_stopped_found_and_replayed(direction: str, tmp_path: Path) -> None:
    error, path = stopped(tmp_path, "train.inject_nan=7", f"train.inject_nan_in={direction}", "model.dropout=0.1")
    assert path.name == "step-00000007-batch-00000006.json"
    incident = receipt.read(path)
    first, place = incident["first"], incident["first"]["place"]
    assert (first["op"], first["kind"], first["direction"], first["value"]) == ("fault", "fault", direction, "nan")
    # Sequence 5 // 2 of 4 shards of 1, 1, 1 and 2 sequences; token 16 // 2.
    assert (first["shard"], first["index"], place["sequence"], place["position"]) == (2, [8, 0], 2, 8)
    assert incident["versions"]["teams"][first["threads"][0]]["first"] <= 2
    where = f"shard 2, sample 32, token 8 {place['text']!r}"
    assert f"first non-finite: fault {direction}, {where}; cllm replay {path}" in error.came
    assert (incident["again"]["cause"], incident["again"]["same_bits"]) == (SAME, True)
    for n_threads in (None, 1, 3):
        result = replay(path, build_manager(), n_threads)
        assert (result.same_bits, result.cause, result.differs_in) == (True, SAME, ())


def test_the_receipt_knows_the_text_around_the_token_and_where_it_lies(tmp_path: Path) -> None:
    _, path = stopped(tmp_path, "train.inject_nan=3")
    place = receipt.read(path)["first"]["place"]
    text = place["before"] + place["text"] + place["after"]
    begin = TEXT.find(text)
    assert begin >= 0 and len(text) == 16 and TEXT.count(text) == 1
    # One document, whose end is for validation: bytes are tokens.
    assert (place["document"], place["offset"], place["file_position"]) == (0, begin + 8, begin + 8)
    assert (place["token"], place["target"]) == (ord(TEXT[begin + 8]), ord(TEXT[begin + 9]))
    assert Path(place["file"]).name == "train.tokens"


def test_before_the_fault_a_run_is_what_it_is_without_and_it_goes_on_when_the_fault_is_moved(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.digest_every=1", "model.dropout=0.1")
    train(settings, tmp_path / "whole")
    stopped(tmp_path, "train.digest_every=1", "model.dropout=0.1", "train.inject_nan=7")
    whole, run = (ledger.read(tmp_path / name / "ledger.jsonl") for name in ("whole", "run"))
    assert run[:7] == whole[:7] and [record.event for record in run[7:]] == ["abort"]  # the first says how it began
    moved = config(tmp_path, "train.digest_every=1", "model.dropout=0.1", "train.inject_nan=1")
    with cllm.Trainer(moved, resume=tmp_path / "run") as trainer:
        list(trainer)
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "whole")


def test_an_abort_gives_its_checkpoint_a_second_name_that_stays(tmp_path: Path) -> None:
    _, path = stopped(tmp_path, "train.inject_nan=4")
    weights = path.parent / receipt.read(path)["weights"]["file"]
    model = tmp_path / "run" / "checkpoints" / "step-00000003" / "model.safetensors"
    assert weights.samefile(model)
    with cllm.Trainer(config(tmp_path, "train.inject_nan=1", "checkpoint.keep=1"), resume=tmp_path / "run") as trainer:
        list(trainer)
    assert not model.exists() and replay(path, build_manager()).same_bits


class Skips:
    """A check that skips some batches."""

    def __init__(self, batches: set[int]) -> None:
        self.batches = batches

    def after_reduction(self, view: Any) -> Any:
        return SkipStep("odd") if view.batch_index in self.batches else Ok()


def test_a_second_incident_at_one_place_does_not_overwrite_the_first(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.inject_nan=7")
    stopped(tmp_path, "train.inject_nan=7")
    with cllm.Trainer(settings, resume=tmp_path / "run") as trainer, pytest.raises(InstabilityAbort):
        list(trainer)
    assert [path.name for path in receipts(tmp_path / "run")] == [
        "step-00000007-batch-00000006.2.json", "step-00000007-batch-00000006.json",
    ]


def test_after_the_most_receipts_there_is_a_line_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt, "MOST", 2)
    train(config(tmp_path), tmp_path / "run", checks=[Skips({1, 3, 5, 7})])
    assert len(receipts(tmp_path / "run")) == 2
    lines = (tmp_path / "run" / "incidents" / "more.jsonl").read_text().splitlines()
    assert [json.loads(line)["batch_index"] for line in lines] == [5, 7]


class Disturbed(Tree):
    """A reducer in Python, some of whose results are disturbed as a race would do it."""

    def __init__(self, calls: set[int], to: float) -> None:
        self.calls, self.to, self.n = calls, to, 0

    def finish(self, total: np.ndarray, n_shards: int) -> None:
        self.n += 1
        if self.n in self.calls:
            total[17] = self.to

    def __getattribute__(self, name: str) -> Any:
        if name == "__cllm_reducer__":
            raise AttributeError(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize("to", [np.nan, np.inf])
def test_what_does_not_come_again_is_a_race_or_memory_or_hardware(to: float, tmp_path: Path) -> None:
    error, path = stopped(tmp_path, reducer=Disturbed({5}, to))
    incident = receipt.read(path)
    assert incident["again"] == {
        "cause": OTHER, "same_bits": False, "engine_differs_in": ["gradient"], "op_by_op_differs_in": ["gradient"],
    }
    assert incident["first"] is None and incident["seen"]["n_nonfinite"] == 1
    assert f"every value of every op is finite; computed again it gave other bits: {OTHER}" in error.came


def test_what_comes_again_but_not_op_by_op_is_one_too(tmp_path: Path) -> None:
    _, path = stopped(tmp_path, reducer=Disturbed({5, 6}, np.nan))
    again = receipt.read(path)["again"]
    assert (again["engine_differs_in"], again["op_by_op_differs_in"], again["cause"]) == ([], ["gradient"], OTHER)


def test_of_a_reducer_made_in_python_a_replay_compares_the_losses_alone(tmp_path: Path) -> None:
    _, path = stopped(tmp_path, reducer=Disturbed({5}, np.nan))
    assert receipt.read(path)["own_reducer"]
    assert replay(path, build_manager()).same_bits


@pytest.mark.parametrize("problem", [MemoryError("no room"), IncidentError("incident", "full", "room", "make some")])
def test_an_investigation_that_fails_does_not_hide_the_abort(
    problem: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: object) -> None:
        raise problem

    monkeypatch.setattr(receipt, "write", fails)
    with pytest.raises(InstabilityAbort, match="gradient norm is nan; expected"):
        train(config(tmp_path, "train.inject_nan=3"), tmp_path / "run")
    assert "cllm: warning: the step could not be looked into: " in capsys.readouterr().err
    assert digest_of(tmp_path / "run")


def test_weights_that_cannot_be_kept_leave_a_receipt_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*arguments: object) -> None:
        raise IncidentError("incident", "full", "room", "make some")

    monkeypatch.setattr(receipt, "keep_weights", fails)
    _, path = stopped(tmp_path, "train.inject_nan=3")
    assert "warning: the incident will not be replayed: incident: full" in capsys.readouterr().err
    with pytest.raises(IncidentError, match="has no weights"):
        replay(path, build_manager())


def test_where_there_are_no_hard_links_the_weights_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise OSError(1, "not permitted")

    monkeypatch.setattr("os.link", fails)
    _, path = stopped(tmp_path, "train.inject_nan=3")
    assert (path.parent / receipt.read(path)["weights"]["file"]).stat().st_nlink == 1
    assert replay(path, build_manager()).same_bits
    assert not list(path.parent.glob(".tmp-*"))


def test_a_stop_while_a_step_is_looked_into_ends_the_run_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with cllm.Trainer(config(tmp_path), tmp_path / "run", checks=[Skips({3})]) as trainer:
        engine = trainer.parts.engine
        gradient = engine.gradient

        def stopping(*arguments: Any, **named: Any) -> Any:
            found = gradient(*arguments, **named)
            calls.append(1)
            if len(calls) == 5:  # batch 3 again
                trainer.stop()
            return found

        calls: list[int] = []
        monkeypatch.setattr(engine, "gradient", stopping)
        with pytest.raises(KeyboardInterrupt):
            list(trainer)
        assert (trainer.state.step, trainer.state.batch_index, trainer.is_saved) == (3, 4, True)
    assert "the step was not looked into: somebody asked to stop" in capsys.readouterr().err
    assert receipts(tmp_path / "run") == []


def test_nothing_of_it_is_imported_before_the_first(tmp_path: Path) -> None:
    config(tmp_path)
    code = f"""
import sys, cllm
from pathlib import Path
from tests.runs import config, train
train(config(Path({str(tmp_path)!r})), Path({str(tmp_path / 'run')!r}))
assert not {{"cllm.incident", "cllm.receipt", "cllm.probing", "cllm.locating", "cllm.replay"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
    assert not (tmp_path / "run" / "incidents").exists()
