"""A model family of a plugin, with options of its own: trained, gone on with, loaded; wrong options are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm.errors import ConfigError
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from tests.runs import config, digest_of, train

PLUGIN = """
import msgspec
from cllm.hooks import ModelSpec, hookimpl
from cllm.models import gpt2

class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    folds: int = 2

def build(model, mode):
    return gpt2.build(msgspec.structs.replace(model, n_layer=model.n_layer * model.options["folds"]), mode)

@hookimpl
def cllm_register_models():
    yield ModelSpec("mine.folded", "GPT-2, some times as deep", build, Options, gpt2.options)
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    (tmp_path / "folded.py").write_text(PLUGIN)
    return build_manager([str(tmp_path / "folded.py")])


def test_a_family_has_options_of_its_own(tmp_path: Path, plugins: Plugins) -> None:
    settings = config(tmp_path, "model.family=mine.folded")
    train(settings, tmp_path / "whole", plugins=plugins)
    assert "folds = 2" in (tmp_path / "whole" / "config.toml").read_text()
    deeper = config(tmp_path, "model.family=mine.folded", "model.options.folds=3")
    with cllm.Trainer(deeper, tmp_path / "deep", plugins=plugins) as trainer:
        assert max(op.layer or 0 for op in trainer.parts.program.ops) == 5
    model = cllm.load(tmp_path / "whole", plugins)
    assert max(op.layer or 0 for op in model.decoding.ops) == 3
    assert model.generate("The", 5)


@pytest.mark.parametrize(
    ("override", "came"),
    [
        ("model.options.fold=3", r"\[model.options\] has no 'fold'"),
        ("model.options.folds=half", "folds"),
        ("model.options=3", "options"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, plugins: Plugins, override: str, came: str) -> None:
    with pytest.raises(ConfigError, match=came):
        cllm.Trainer(config(tmp_path, "model.family=mine.folded", override), tmp_path / "run", plugins=plugins)
    assert not (tmp_path / "run").exists()


def test_a_family_of_cllm_has_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folds"):
        cllm.Trainer(config(tmp_path, "model.options.folds=3"), tmp_path / "run")


def test_a_run_goes_on_with_the_options_that_it_has(tmp_path: Path, plugins: Plugins) -> None:
    def settings(folds: int) -> Any:
        return config(tmp_path, "model.family=mine.folded", f"model.options.folds={folds}")

    with cllm.Trainer(settings(3), tmp_path / "run", plugins=plugins) as trainer:
        next(report for report in trainer if report.step == 7)
    with pytest.raises(ConfigError, match="folds"):
        cllm.Trainer(settings(2), resume=tmp_path / "run", plugins=plugins)
    with cllm.Trainer(settings(3), resume=tmp_path / "run", plugins=plugins) as trainer:
        list(trainer)
    train(settings(3), tmp_path / "whole", plugins=plugins)
    assert digest_of(tmp_path / "run") == digest_of(tmp_path / "whole")

