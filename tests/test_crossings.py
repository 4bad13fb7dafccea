"""How often a step crosses from Python into compiled code: a number that neither layers nor shards change.

Whatever compiled thing a module of cllm has a name for is replaced by a door that notes who goes through.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cllm
from tests.layers import modules
from tests.models import FoldInPython
from tests.runs import config

SMALL, LARGE = ("model.n_layer=1", "train.micro_batch_size=5"), ("model.n_layer=4", "train.micro_batch_size=1")


class Door:
    """A compiled module, function, class or object; calls of it, and of what it has or makes, are noted."""

    def __init__(self, inside: Any, crossings: list[str]) -> None:
        self._inside, self._crossings = inside, crossings

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inside, name)
        return Door(found, self._crossings) if callable(found) else found

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self._inside.__name__ != "address_of":  # of an array: NumPy's own would be no crossing, and slower
            self._crossings.append(self._inside.__name__)
        result = self._inside(*arguments, **options)
        return Door(result, self._crossings) if is_compiled(type(result)) else result


def is_compiled(thing: Any) -> bool:
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
    return isinstance(name, str) and name.startswith("cllm._kernels.")


@pytest.fixture
def crossings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    noted: list[str] = []
    for module in [import_module(name) for name in modules() if name != "cllm.__main__"]:
        for name, value in list(vars(module).items()):
            if is_compiled(value):
                monkeypatch.setattr(module, name, Door(value, noted))
    return noted


def of_a_step(crossings: list[str], folder: Path, *overrides: str) -> list[str]:
    """The crossings of the third of four steps, which neither evaluates nor writes."""
    run = folder / f"run{len(list(folder.iterdir()))}"
    with cllm.Trainer(config(folder, "train.steps=4", *overrides), run) as trainer:
        for report in trainer:
            if report.step == 2:
                crossings.clear()
            if report.step == 3:
                return list(crossings)
    raise AssertionError("no third step")


def test_neither_layers_nor_shards_change_the_crossings_of_a_step(crossings: list[str], tmp_path: Path) -> None:
    small, large = (of_a_step(crossings, tmp_path, *sizes) for sizes in (SMALL, LARGE))
    assert small == large
    assert {"set_batch", "fold", "chain_norm", "adamw"} <= set(small)
    assert len(small) <= 14


def test_a_gather_reducer_is_called_for_each_slice_of_parameters(crossings: list[str], tmp_path: Path) -> None:
    """Of 65,536: their number grows with the model, and not with the shards."""
    ordered, wide = "reducer.name=ordered", "model.n_embd=96"
    counts = [of_a_step(crossings, tmp_path, ordered, *more).count("ordered_sum") for more in (SMALL, LARGE, (wide,))]
    assert counts == [1, 1, 4]


def test_a_fold_in_python_crosses_for_each_merge(
    crossings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cllm.builtin.reducers.TreeReducer", FoldInPython)
    assert [of_a_step(crossings, tmp_path, *sizes).count("add") for sizes in (SMALL, LARGE)] == [0, 4]
