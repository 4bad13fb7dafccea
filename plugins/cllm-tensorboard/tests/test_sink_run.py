"""Whole runs with the installed plugin, as a user starts them: curves of it are there, also after a resume."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import cllm
import pytest
from cllm.cli import main
from cllm.hooks.manager import build_manager
from eventfiles import shown

CONFIG = """\
name = "seen"
[model]
block_size = 16
n_layer = 1
n_head = 2
n_embd = 16
[data]
path = "text.txt"
[train]
steps = 12
batch_size = 5
eval_every = 5
eval_batches = 2
log_every = 2
[checkpoint]
every = 5
[sinks]
console = false
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("".join(f"{n} and {n} make {2 * n}.\n" for n in range(400)))
    Path("run.toml").write_text(CONFIG + "[sinks.tensorboard]\n")
    return tmp_path


def test_a_run_and_its_resume_have_the_curves_of_one_that_was_not_disturbed() -> None:
    assert main(["train", "run.toml", "--out", "whole"]) == 0
    with cllm.Trainer(cllm.load_config(Path("run.toml")), "resumed") as trainer:
        next(report for report in trainer if report.step == 8)
    assert [step for step, _ in shown(Path("resumed"))["loss/training"]] == [2, 4, 5, 6, 8]
    assert main(["train", "--resume", "resumed"]) == 0
    for name in ("loss/training", "loss/validation", "update/gradient_norm"):
        whole = shown(Path("whole"))[name]
        assert shown(Path("resumed"))[name] == whole and len(whole) >= 3
    assert [step for step, _ in shown(Path("whole"))["loss/training"]] == [2, 4, 5, 6, 8, 10, 12]


def test_it_changes_no_bit(capsys: pytest.CaptureFixture[str]) -> None:
    Path("plain.toml").write_text(CONFIG)
    for name, source in (("with", "run.toml"), ("without", "plain.toml")):
        assert main(["train", source, "--out", name]) == 0
    assert Path("with", "tensorboard").is_dir() and not Path("without", "tensorboard").exists()
    capsys.readouterr()
    assert main(["diff", "with", "without"]) == 0


def test_a_folder_that_cannot_be_written_is_a_warning_and_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert main(["train", "run.toml", "--out", "run", "--set", "sinks.tensorboard.folder=file"]) == 0
    assert "sink tensorboard" in capsys.readouterr().err
    assert len(Path("run", "metrics.jsonl").read_text().splitlines()) == 12


def test_options_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run.toml", "--set", "sinks.tensorboard.every=0"]) == 2
    assert "1 or more" in capsys.readouterr().err


def test_without_the_plugin_the_error_names_its_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: ())  # nothing installed, as cllm sees it
    assert main(["train", "run.toml"]) == 2
    assert "the package cllm-tensorboard provides it" in capsys.readouterr().err


def test_it_is_listed_and_can_be_left_out() -> None:
    rows = {row.name: row for row in build_manager().list()}
    assert (rows["tensorboard"].distribution, rows["tensorboard"].state) == ("cllm-tensorboard", "active")
    assert rows["tensorboard"].provides == ("sink tensorboard",)
    assert {row.name: row.state for row in build_manager(["no:tensorboard"]).list()}["tensorboard"] == "left out"
