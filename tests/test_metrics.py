"""Metrics in whole runs: where their numbers land, and that no bit and no run depends on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cllm.errors import ConfigError
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from cllm.reporting.following import Follower
from tests.runs import config, digest_of, finish, leave_half_way, train

PLUGIN = '''
import msgspec
from cllm.hooks import MetricSpec, hookimpl

class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: int = 32

class Share:
    """Of the tokens that are `token`."""

    def __init__(self, config):
        self._token = config.token

    def measure(self, batch):
        return (batch.targets == self._token).mean()

class Writes:
    def measure(self, batch):
        batch.targets[0, 0] = 7

@hookimpl
def cllm_register_metrics():
    yield MetricSpec("mine.share", "the share of a token", Share, Config)
    yield MetricSpec("mine.writes", "wants to change a batch", Writes)
'''
SPACES, DIGITS = "metrics.spaces.name=mine.share", 'metrics.ones={name="mine.share", token=49}'


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return build_manager([str(path)])


def test_numbers_stand_in_the_reports_of_logged_steps_and_change_no_bit(tmp_path: Path, plugins: Plugins) -> None:
    train(config(tmp_path), tmp_path / "plain")
    settings = config(tmp_path, SPACES, DIGITS, "train.log_every=5", "sinks.csv=true")
    reports = train(settings, tmp_path / "run", plugins=plugins)
    assert digest_of(tmp_path / "plain") == digest_of(tmp_path / "run")
    measured = {report.step: report.metrics for report in reports if report.metrics}
    assert list(measured) == [5, 10, 12]
    assert all(0.05 < numbers["spaces"] < 0.5 and 0.0 < numbers["ones"] < 0.5 for numbers in measured.values())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"]: line["metrics"] for line in lines if line["metrics"]} == measured
    with (tmp_path / "run" / "metrics.csv").open() as file:
        cells = [line["metrics"] for line in csv.DictReader(file)]
    assert cells[4] == f"spaces {measured[5]['spaces']}; ones {measured[5]['ones']}" and cells[5] == ""


def test_the_config_of_the_run_names_them_with_their_options(tmp_path: Path, plugins: Plugins) -> None:
    train(config(tmp_path, SPACES), tmp_path / "run", plugins=plugins)
    assert '[metrics.spaces]\nname = "mine.share"\ntoken = 32\n' in (tmp_path / "run" / "config.toml").read_text()
    train(config(tmp_path), tmp_path / "plain", plugins=plugins)
    assert "[metrics" not in (tmp_path / "plain" / "config.toml").read_text()


@pytest.mark.parametrize(
    ("override", "came"),
    [
        ("metrics.spaces.name=mine.shore", r"\[metrics.spaces\] name = .* did you mean .mine.share.\?"),
        ('metrics.spaces={name="mine.share", tokn=1}', r"\[metrics.spaces\] has no 'tokn'"),
        ("metrics.spaces=false", r"\[metrics\] spaces = false; expected a table, or true; leave it out"),
    ],
)
def test_wrong_ones_are_refused(tmp_path: Path, plugins: Plugins, override: str, came: str) -> None:
    with pytest.raises(ConfigError, match=came):
        train(config(tmp_path, override), tmp_path / "run", plugins=plugins)
    assert not (tmp_path / "run").exists()


def test_one_that_wants_to_change_the_batch_cannot(
    tmp_path: Path, plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(tmp_path), tmp_path / "plain")
    reports = train(config(tmp_path, "metrics.w.name=mine.writes", SPACES), tmp_path / "run", plugins=plugins)
    assert digest_of(tmp_path / "plain") == digest_of(tmp_path / "run")
    assert set(reports[-1].metrics) == {"spaces"}
    error = capsys.readouterr().err
    assert error.count("warning") == 1
    assert f"metric w (mine.writes of {tmp_path / 'mine.py'}) failed and is left out from here on" in error
    assert "read-only" in error


def test_a_step_that_is_skipped_has_none(tmp_path: Path, plugins: Plugins) -> None:
    settings = config(
        tmp_path, SPACES, "train.log_every=1", "checks.spike.threshold=0.01", "checks.spike.warmup=2"
    )
    reports = train(settings, tmp_path / "run", plugins=plugins)
    assert {report.decision for report in reports} == {"step", "skip"}
    assert all(bool(report.metrics) == (report.decision == "step") for report in reports)


def test_they_may_change_on_resume(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    train(config(tmp_path), tmp_path / "plain")
    leave_half_way(config(tmp_path), tmp_path / "run")
    plugins = build_manager([str(tmp_path / "mine.py")])
    finish(config(tmp_path, SPACES), tmp_path / "run", plugins=plugins)
    assert digest_of(tmp_path / "plain") == digest_of(tmp_path / "run")
    assert [step for step, _ in Follower(tmp_path / "run" / "metrics.jsonl").history().metrics["spaces"]] == [8, 12]
