"""Groups of parameters: their own learning rate and weight decay, the first that matches, names that fit nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cllm
from cllm.builtin.groups import GroupConfig, runs_of
from cllm.builtin.optimizers import SGD, SGDConfig
from cllm.errors import ConfigError
from cllm.program import Parameter
from tests.runs import config, digest_of, train

TABLE = (
    Parameter("wte.weight", (4, 2), 0, decay=True),
    Parameter("h.0.weight", (2, 2), 8, decay=True, learning_rate_scale=0.5),
    Parameter("h.0.bias", (2,), 12),
)


def treated(*groups: GroupConfig) -> list[tuple[int, int, float, float]]:
    return [tuple(run.tolist()) for run in runs_of(TABLE, 0.1, groups)]


def test_without_groups_matrices_decay() -> None:
    assert treated() == [(0, 8, 0.1, 1.0), (8, 4, 0.1, 0.5), (12, 2, 0.0, 1.0)]


def test_a_group_has_its_own_and_scales_multiply() -> None:
    group = GroupConfig(match="h.*", learning_rate_scale=0.1, weight_decay=0.3)
    assert treated(group) == [(0, 8, 0.1, 1.0), (8, 4, 0.3, 0.05), (12, 2, 0.3, 0.1)]


def test_the_first_that_matches_counts() -> None:
    groups = GroupConfig(match="*.bias", learning_rate_scale=2.0), GroupConfig(match="h.*", weight_decay=0.0)
    assert treated(*groups) == [(0, 8, 0.1, 1.0), (8, 4, 0.0, 0.5), (12, 2, 0.0, 2.0)]


def test_a_name_that_fits_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"match = 'wpe.weight', which fits no parameter.*mean \"wte.weight\""):
        treated(GroupConfig(match="wpe.weight"))


def test_a_scale_of_zero_freezes() -> None:
    optimizer = SGD(SGDConfig(weight_decay=0.1, groups=[GroupConfig(match="wte.*", learning_rate_scale=0.0)]))
    optimizer.init(TABLE)
    parameters = np.ones(14, dtype=np.float32)
    gradient = np.ones(14, dtype=np.float32)
    optimizer.step(parameters, gradient, learning_rate=0.1, gradient_scale=1.0, n_threads=1)
    np.testing.assert_array_equal(parameters[:8], 1.0)
    assert (parameters[8:] < 1.0).all()


def test_a_run_keeps_its_groups(tmp_path: Path) -> None:
    """Written to its config.toml, and the same when it goes on."""
    groups = 'optimizer.groups=[{match = "*.wte.*", learning_rate_scale = 0.1}]'
    train(config(tmp_path, groups, "train.steps=3"), tmp_path / "run")
    train(config(tmp_path, "train.steps=3"), tmp_path / "plain")
    assert digest_of(tmp_path / "run") != digest_of(tmp_path / "plain")
    assert cllm.load_config(tmp_path / "run/config.toml").optimizer.options["groups"] == [
        {"match": "*.wte.*", "learning_rate_scale": 0.1}
    ]
    with cllm.Trainer(config(tmp_path, groups, "train.steps=4"), resume=tmp_path / "run") as trainer:
        assert [report.step for report in trainer] == [4]
