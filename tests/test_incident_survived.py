"""Steps that are skipped, go on without some shards, or are left behind by a rewind: their receipts change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm import receipt
from cllm.errors import InstabilityAbort
from cllm.hooks.manager import build_manager
from cllm.hooks.verdicts import Abort, DropShards, Rewind
from cllm.replay import replay
from tests.models import always_in_lockstep
from tests.runs import config, digest_of, train
from tests.test_incident import Skips, receipts
from tests.test_verdicts import At


def test_skips_have_receipts_and_share_weights_and_the_run_goes_on_as_it_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(tmp_path), tmp_path / "run", checks=[Skips({3, 4, 7})])
    paths = receipts(tmp_path / "run")
    assert [path.stem for path in paths] == [
        "step-00000004-batch-00000003", "step-00000004-batch-00000004", "step-00000006-batch-00000007",
    ]
    contents = [receipt.read(path) for path in paths]
    assert len({content["weights"]["file"] for content in contents}) == 2
    for path, content in zip(paths, contents, strict=True):
        assert content["first"] is None and content["summary"] == "every value of every op is finite"
        assert content["decision"]["reasons"] == ["Skips: odd"]
        assert len(content["shards"]) == 4 and content["growth"]["written"]
        assert max(range(4), key=lambda n: content["shards"][n]["loss"]) == content["growth"]["shard"]
        assert replay(path, build_manager(), 2).same_bits
    told = [line for line in capsys.readouterr().err.splitlines() if "cllm replay" in line]
    assert len(told) == 3
    assert told[0].startswith("cllm: step 4, batch 3: every value of every op is finite; cllm replay")


@pytest.mark.parametrize("threads_and_lockstep", [(1, False), (2, True)])
def test_a_step_that_goes_on_without_a_shard_is_looked_into_and_not_changed(
    threads_and_lockstep: tuple[int, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_threads, lockstep = threads_and_lockstep
    if lockstep:
        always_in_lockstep(monkeypatch)
    settings = config(tmp_path, f"train.threads={n_threads}", "model.dropout=0.1")
    drops = {6: DropShards((2,), "odd")}
    with cllm.Trainer(settings, tmp_path / "run", checks=[At("after_shard", dict(drops), once=True)]) as trainer:
        assert trainer.parts.engine.lockstep == lockstep
        list(trainer)
    (path,) = receipts(tmp_path / "run")
    incident = receipt.read(path)
    assert (incident["dropped"], incident["decision"]["kind"]) == ([2], "drop")
    assert (incident["first"], incident["again"]["same_bits"]) == (None, True)
    assert [shard["loss"] == 0.0 for shard in incident["shards"]] == [False, False, True, False]
    assert all(shard["loss_again"] > 0.0 for shard in incident["shards"])  # those left out are looked into as well
    assert replay(path, build_manager()).same_bits
    monkeypatch.setattr(cllm.Trainer, "_look_into", lambda *arguments: None)
    train(settings, tmp_path / "without", checks=[At("after_shard", dict(drops), once=True)])
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "without")


@pytest.mark.parametrize(("action", "dropped"), [("drop", [2]), ("skip", []), ("rewind", [])])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_nan_that_a_run_survives_is_found_as_well(
    action: str, dropped: list[int], direction: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["train.inject_nan=7", f"train.inject_nan_in={direction}", f"checks.finite.action={action}"]
    reports = train(config(tmp_path, *overrides, "checks.clip=false"), tmp_path / "run")
    assert reports[-1].step == 12
    (path,) = receipts(tmp_path / "run")
    incident = receipt.read(path)
    assert (incident["decision"]["kind"], incident["dropped"]) == (action, dropped)
    first = incident["first"]
    assert (first["op"], first["direction"], first["shard"]) == ("fault", direction, 2)
    assert incident["again"]["same_bits"] and replay(path, build_manager(), 2).same_bits
    assert f"cllm: step 7, batch 6: first non-finite: fault {direction}, shard 2" in capsys.readouterr().err


def test_a_step_that_goes_on_keeps_its_gradient_whatever_becomes_of_the_investigation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoils_and_fails(engine: Any, parameters: Any, batch: Any, reducer: Any, *others: Any) -> None:
        engine.gradient(parameters, batch, reducer, {0}).gradient[:] = 9.0
        raise MemoryError("no room")

    digests = []
    for name in ("undisturbed", "disturbed"):
        train(config(tmp_path), tmp_path / name, checks=[At("after_shard", {6: DropShards((2,), "odd")}, once=True)])
        digests.append(digest_of(tmp_path / name))
        monkeypatch.setattr("cllm.incident.compute_again", spoils_and_fails)
    assert digests[0] == digests[1]
    assert "the step could not be looked into: MemoryError: no room" in capsys.readouterr().err


def test_a_rewind_leaves_a_receipt_from_before_it(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run", checks=[At("after_reduction", {7: Rewind("odd", 1)}, once=True)])
    (path,) = receipts(tmp_path / "run")
    assert path.name == "step-00000008-batch-00000007.json" and replay(path, build_manager()).same_bits


def test_an_update_that_has_been_made_is_not_looked_into(tmp_path: Path) -> None:
    with pytest.raises(InstabilityAbort):
        train(config(tmp_path), tmp_path / "run", checks=[At("after_update", {5: Abort("too late")})])
    assert not (tmp_path / "run" / "incidents").exists()
