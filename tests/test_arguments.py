"""What a caller from Python gets wrong is a typed error, before there is anything on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm.errors import CllmError, ConfigError, PluginError, RunFolderError, UsageError
from cllm.hooks import Ok
from tests.runs import config, train


class Counting:
    """A check that counts the steps that it saw."""

    def __init__(self) -> None:
        self.n_steps = 0

    def after_reduction(self, _: Any) -> Ok:
        self.n_steps += 1
        return Ok()

    def state_dict(self) -> dict[str, int]:
        return {"n_steps": self.n_steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.n_steps = state["n_steps"]


TRAINER: list[tuple[dict[str, Any], type[CllmError], str]] = [
    ({"config": "x"}, UsageError, r"Trainer: config = 'x', of type str; expected a Config; .*load_config"),
    ({"config": None}, UsageError, "config = None"),
    ({"config": {}}, UsageError, "config = {}"),
    ({"out": 5}, UsageError, "Trainer: out = 5, of type int; expected a path"),
    ({"out": "a\0b"}, UsageError, "without zero bytes"),
    ({"resume": 5}, UsageError, "Trainer: resume = 5"),
    ({"init_from": 5}, UsageError, "Trainer: init_from = 5"),
    ({"resume": "run", "out": "other"}, UsageError, "resume with out or init_from"),
    ({"resume": "run", "init_from": "other"}, UsageError, "resume with out or init_from"),
    ({"plugins": ["./mine.py"]}, UsageError, r"plugins = \['./mine.py'\], of type list; .*build_manager"),
    ({"reducer": object()}, PluginError, "Trainer: reducer: a object without kind"),
    ({"reducer": "tree"}, PluginError, "Trainer: reducer: a str without kind"),
    ({"checks": [3]}, PluginError, r"Trainer: checks\[0\]: a int without any of its methods"),
    ({"checks": [Counting(), "clip"]}, PluginError, r"Trainer: checks\[1\]: a str without"),
    ({"checks": [Counting]}, PluginError, r"checks\[0\]: the class Counting; expected an object; call it"),
    ({"checks": Counting()}, UsageError, r"Trainer: checks = .*, of type Counting; .*checks=\[mine\]"),
    ({"checks": "clip"}, UsageError, "Trainer: checks = 'clip'"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), TRAINER)
def test_a_trainer_refuses_what_it_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], error: type[CllmError], message: str
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(error, match=message):
        cllm.Trainer(**{"config": config(tmp_path), **wrong})
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"overrides": {"train.steps": 3}}, r'load_config: overrides = .*, of type dict; .*"table.key=value"'),
        ({"overrides": "train.steps=3"}, "overrides = 'train.steps=3', of type str"),
        ({"overrides": None}, "overrides = None"),
        ({"overrides": [3]}, "an override = 3, of type int; expected table.key=value"),
        ({"overrides": [{"train.steps": 3}]}, "an override = {"),
        ({"path": 5}, "path = 5, of type int"),
        ({"path": {"train": {}}}, "path = {"),
        ({"path": "a\0b"}, "null byte"),
        ({"base": "train"}, "base = 'train', of type str"),
        ({"base": [1]}, "base = "),
    ],
)
def test_load_config_refuses_what_it_cannot_use(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cllm.load_config(**wrong)


def test_load_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"there is no folder .*nonexistent; expected the folder of a run"):
        cllm.load(tmp_path / "nonexistent")
    wrong: Any
    for wrong in (5, None, "a\0b"):
        with pytest.raises(UsageError, match="load: run = "):
            cllm.load(wrong)
    with pytest.raises(UsageError, match="load: plugins = "):
        cllm.load(tmp_path, plugins=wrong)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> cllm.Model:
    folder = tmp_path_factory.mktemp("model")
    train(config(folder), folder / "run")
    return cllm.load(folder / "run")


WRITING: list[Callable[[Any], str]] = [
    lambda model: model.generate(5),
    lambda model: model.generate(None),
    lambda model: model.generate(b"bytes"),
    lambda model: model.generate("a", "5"),
    lambda model: model.generate("a", 2.5),
    lambda model: model.generate("a", -1),
    lambda model: model.generate("a", 2, "seed"),
    lambda model: model.generate("a", 2, 1.5),
    lambda model: model.generate("a", 2, temperature="warm"),
    lambda model: model.generate("a", 2, temperature=None),
    lambda model: model.generate("a", 2, top_k=2.5),
    lambda model: model.generate("a", 2, top_p="most"),
    lambda model: model.generate("a", 2, stop=5),
]


@pytest.mark.parametrize("call", WRITING)
def test_generate_refuses_what_it_cannot_use(model: cllm.Model, call: Callable[[Any], str]) -> None:
    with pytest.raises(UsageError):
        call(model)


def test_checks_of_one_class_all_run_and_are_remembered_apart(tmp_path: Path) -> None:
    checks = [Counting(), Counting()]
    train(config(tmp_path, "train.steps=6"), tmp_path / "run", checks=checks)
    assert [check.n_steps for check in checks] == [6, 6]
    checks = [Counting(), Counting()]
    with cllm.Trainer(config(tmp_path), resume=tmp_path / "run", checks=checks) as trainer:
        assert [label for label in trainer.state.checks if "Counting" in label] == ["Counting", "Counting-2"]
        list(trainer)
    assert [check.n_steps for check in checks] == [12, 12]


def test_a_check_takes_no_label_of_the_config(tmp_path: Path) -> None:
    class clip(Counting):
        pass

    mine = clip()
    with cllm.Trainer(config(tmp_path), tmp_path / "run", checks=[mine]) as trainer:
        assert trainer.state.checks["clip-2"] is mine and trainer.state.checks["clip"] is not mine
