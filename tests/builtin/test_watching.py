"""The checks that watch many steps: when they speak, that they remember, and whole runs with them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm.builtin.watching import (
    DeadGradientCheck,
    DeadGradientConfig,
    PlateauCheck,
    PlateauConfig,
    UpdateRatioCheck,
    UpdateRatioConfig,
)
from cllm.errors import CheckpointError, InstabilityAbort
from cllm.hooks import Abort, LowerLR, Ok, UpdatedView, UpdateView
from tests.hooks.values import a_view
from tests.runs import config, digest_of, finish, leave_half_way, train


def updated(step: int, ratios: dict[str, float | None], measured: list[int]) -> tuple[UpdateView, UpdatedView]:
    view = a_view(step=step, matrices=tuple(ratios))
    before = UpdateView(view, clip=1.0, learning_rate=1e-3, measure=lambda: measured.append(step))
    return before, UpdatedView(before, 1e-3, True, None, ratios.__getitem__)


def test_a_ratio_above_the_limit_lowers_what_comes_until_it_is_measured_again() -> None:
    check, measured = UpdateRatioCheck(UpdateRatioConfig(limit=0.1, every=10)), list[int]()
    before, after = updated(0, {"a": 0.05, "b": 0.4, "zero": None}, measured)
    assert check.before_update(before) == Ok() and check.after_update(after) == Ok()
    for step in range(1, 10):
        before, after = updated(step, {"a": None, "b": None}, measured)
        verdict = check.before_update(before)
        assert isinstance(verdict, LowerLR) and verdict.factor == 0.25 and "b would change by 0.4" in verdict.reason
        check.after_update(after)
    before, after = updated(10, {"a": 0.01, "b": 0.02}, measured)  # at a quarter of the rate: 0.08 at the full one
    check.before_update(before)
    check.after_update(after)
    assert check.before_update(updated(11, {}, measured)[0]) == Ok()
    assert measured == [0, 10]


@pytest.mark.parametrize("ratio", [math.nan, math.inf])
def test_a_ratio_that_is_no_number_is_an_abort(ratio: float) -> None:
    check = UpdateRatioCheck(UpdateRatioConfig())
    assert isinstance(check.after_update(updated(0, {"a": 0.1, "b": ratio, "c": 0.2}, [])[1]), Abort)


def test_a_gradient_that_is_dead_for_long_is_an_abort() -> None:
    check = DeadGradientCheck(DeadGradientConfig(steps=6, every=3))
    norms = {"alive": 1.0, "dead": 0.0, "resting": 0.0}
    found = []
    for step in range(7):
        norms["resting"] = 0.5 if step == 3 else 0.0
        found.append(check.after_reduction(
            a_view(step=step, parameters=tuple(norms), parameter_norm=norms.__getitem__)
        ))
    assert found == [*6 * [Ok()], Abort("dead: no gradient above 0 for 6 steps")]


def test_a_loss_that_stands_still_halves_the_rate_again_and_again_down_to_the_least() -> None:
    check = PlateauCheck(PlateauConfig(steps=10, factor=0.5, least=0.2))
    for step in range(30):
        assert check.after_reduction(a_view(loss=3.0 - 0.05 * step)) == Ok()
    found = [check.after_reduction(a_view(loss=1.55)) for _ in range(60)]
    factors = [verdict.factor for verdict in found if isinstance(verdict, LowerLR)]
    assert sorted(set(factors), reverse=True) == [0.5, 0.25, 0.2]
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_left_to_the_check_finite_and_not_remembered(loss: float) -> None:
    check = PlateauCheck(PlateauConfig())
    check.after_reduction(a_view(loss=2.0))
    known = check.state_dict()
    assert check.after_reduction(a_view(loss=loss)) == Ok()
    assert check.state_dict() == known


CHECKS = ("checks.update_ratio.every=2", "checks.update_ratio.limit=0.004", "checks.dead_gradient=true",
          "checks.plateau.steps=2", "checks.plateau.threshold=0.5")


def test_a_resumed_run_decides_as_an_undisturbed_one(tmp_path: Path) -> None:
    leave_half_way(config(tmp_path, *CHECKS, "train.threads=1"), tmp_path / "run")
    settings = config(tmp_path, *CHECKS, "train.threads=3")
    finish(settings, tmp_path / "run")
    reports = train(settings, tmp_path / "whole")
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "whole")
    reasons = {reason.partition(":")[0] for report in reports for reason in report.reasons}
    assert reasons == {"update_ratio", "plateau"}
    ledgers = [(tmp_path / name / "ledger.jsonl").read_bytes() for name in ("run", "whole")]
    assert ledgers[0] == ledgers[1]


def test_a_part_of_a_model_that_is_cut_off_is_found(tmp_path: Path) -> None:
    """Weights and bias of an output that is 0, and its bias' too, give what stands before it no gradient."""
    dead, rate = ("checks.dead_gradient.steps=3", "checks.dead_gradient.every=1"), "optimizer.learning_rate=1e-30"
    settings = config(tmp_path, *dead, "optimizer.name=sgd", rate)
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        views = trainer.state.views()
        for name in ("weight", "bias"):
            views[f"transformer.h.0.mlp.c_proj.{name}"][...] = 0.0
        with pytest.raises(InstabilityAbort, match=r"h\.0\.mlp\.c_fc\.bias.*h\.0\.mlp\.c_fc\.weight") as caught:
            list(trainer)
    assert caught.value.who == "step 4"


@pytest.mark.parametrize(
    ("check", "state"),
    [
        (UpdateRatioCheck(UpdateRatioConfig()), {"factor": "x", "reason": ""}),
        (PlateauCheck(PlateauConfig()), {"factor": 1.0, "waited": 0, "mean": None}),
        (PlateauCheck(PlateauConfig()), {"factor": True, "waited": 0, "mean": None, "best": 1.0}),
    ],
)
def test_a_memory_of_another_kind_is_refused(check: Any, state: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="resume from another checkpoint"):
        check.load_state_dict(state)
