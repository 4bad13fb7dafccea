"""What commands that read a run say of a newest checkpoint that is damaged: they show an older state, and tell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import cllm
from cllm.cli import main
from tests.runs import config, train
from tests.test_checkpoint import flip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints at steps 5 and 7."""
    folder = tmp_path_factory.mktemp("passed")
    train(config(folder, "train.steps=7"), folder / "run")
    return folder / "run"


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> str:
    shutil.copytree(whole, tmp_path / "run")
    flip(tmp_path / "run" / "checkpoints" / "step-00000007" / "model.safetensors")
    return str(tmp_path / "run")


@pytest.mark.parametrize("words", [["digest"], ["eval"], ["eval", "--json"], ["generate"]])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    words: list[str], damaged: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = words
    assert main([command, str(whole), *options]) == 0
    sound = capsys.readouterr()
    assert main([command, damaged, *options]) == 0
    printed = capsys.readouterr()
    assert sound.err == ""
    assert printed.err.startswith("cllm: warning: checkpoint step-00000007 is passed over: ")
    assert printed.out != sound.out


def test_python_is_told_too(damaged: str) -> None:
    model = cllm.load(damaged)
    assert model.step == 5
    [warning] = model.warnings
    assert "checkpoint step-00000007 is passed over" in warning
