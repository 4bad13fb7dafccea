"""Early stopping: a run ends where the validation loss has not fallen for as many evaluations as `[train] patience`."""

from __future__ import annotations

from pathlib import Path

import pytest

import cllm
from cllm.errors import ConfigError
from tests.runs import config, train

STALE = (
    "optimizer.learning_rate=1e-30", "train.eval_every=2", "train.patience=2", "train.steps=40", "checkpoint.every=3",
)


def test_a_run_ends_where_the_validation_loss_has_not_fallen_for_long(tmp_path: Path) -> None:
    """The first evaluation is the best, two more are as good: there the run ends, with a digest and a checkpoint."""
    reports = train(config(tmp_path, *STALE), tmp_path / "run")
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert reports[-1].digest is not None
    with cllm.Trainer(config(tmp_path, *STALE), resume=tmp_path / "run") as trainer:
        assert trainer.is_over
        assert trainer.is_saved
        assert list(trainer) == []
    more = config(tmp_path, *STALE, "train.patience=3")
    with cllm.Trainer(more, resume=tmp_path / "run") as trainer:
        assert [report.step for report in trainer] == [7, 8]


def test_a_run_that_was_left_ends_at_the_same_step(tmp_path: Path) -> None:
    settings = config(tmp_path, *STALE)
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        steps = iter(trainer)
        assert [next(steps).step for _ in range(5)] == [1, 2, 3, 4, 5]
    with cllm.Trainer(settings, resume=tmp_path / "run") as trainer:
        assert trainer.state.step == 3
        assert [report.step for report in trainer] == [4, 5, 6]


def test_progress_starts_patience_anew(tmp_path: Path) -> None:
    reports = train(config(tmp_path, "train.eval_every=1", "train.patience=2", "train.steps=6"), tmp_path / "run")
    assert len(reports) == 6
    losses = [report.validation_loss for report in reports]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("override", ["train.patience=2", "checkpoint.keep_best=true"])
def test_without_a_validation_part_there_is_nothing_to_go_by(tmp_path: Path, override: str) -> None:
    settings = config(tmp_path, "data.validation=0", override)
    with pytest.raises(ConfigError, match="without a validation part; expected a validation loss to go by"):
        cllm.Trainer(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()
