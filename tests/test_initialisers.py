"""What parameters begin with: the family's values, other rules, and plugins, which may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm.builtin.initializers import Family
from cllm.config import Part
from cllm.errors import ConfigError, PluginError
from cllm.hooks import InitializerSpec
from cllm.hooks.manager import build_manager
from cllm.initialise import initial_parameters
from cllm.program import Parameter
from tests.models import CONFIGS, build, shape
from tests.runs import config, digest_of, train


def values_of(name: str, **options: Any) -> dict[str, np.ndarray]:
    program = build(shape(n_embd=64, n_head=4, vocab_size=256), "train")
    initializer = build_manager().make("initializer", Part(name, options))
    return dict(program.views(initial_parameters(program, 5, 1, initializer)))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_family_has_its_own_values(name: str) -> None:
    program = build(shape(**CONFIGS[name]), "train")
    own, by_default = initial_parameters(program, 5, 1, Family()), initial_parameters(program, 5)
    assert own.tobytes() == by_default.tobytes() == initial_parameters(program, 5, 3, Family()).tobytes()


def test_normal_gives_every_matrix_one_deviation() -> None:
    for name, values in values_of("normal", deviation=0.5).items():
        if values.ndim > 1:
            assert values.std() == pytest.approx(0.5, rel=0.1) and abs(values.mean()) < 0.05, name
        else:
            assert np.unique(values).size == 1, name


def test_xavier_looks_at_rows_and_columns() -> None:
    for name, values in values_of("xavier", gain=2.0).items():
        if values.ndim > 1:
            assert values.std() == pytest.approx(2.0 * sqrt(2.0 / sum(values.shape)), rel=0.1), name


def test_a_run_begins_with_them_and_goes_on(tmp_path: Path) -> None:
    digests = []
    xavier = "initializer.name=xavier"
    for number, overrides in enumerate([(), (xavier,), (xavier, "train.threads=2")]):
        train(config(tmp_path, *overrides), tmp_path / str(number))
        digests.append(digest_of(tmp_path / str(number)))
    assert digests[0] != digests[1] == digests[2]
    assert 'name = "xavier"' in (tmp_path / "1" / "config.toml").read_text()
    with pytest.raises(ConfigError, match="initializer"):
        cllm.Trainer(config(tmp_path), resume=tmp_path / "1")


Values = Callable[[Parameter, Callable[[float], np.ndarray]], Any]


GIVEN: list[Values] = []  # what the plugin of the test that runs answers


class Given:
    values = staticmethod(lambda parameter, normal: GIVEN[0](parameter, normal))


PLUGIN = """
from cllm.hooks import hookimpl
from tests.test_initialisers import spec

@hookimpl
def cllm_register_initializers():
    yield spec()
"""


def spec() -> InitializerSpec:
    return InitializerSpec("mine", "given by the test", Given)


def run_with(values: Values, tmp_path: Path) -> np.ndarray:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    GIVEN[:] = [values]
    plugins = build_manager([str(file)])
    with cllm.Trainer(config(tmp_path, "initializer.name=mine"), tmp_path / "run", plugins=plugins) as trainer:
        return trainer.state.parameters.copy()


def test_a_plugin_gives_some_values_and_leaves_others(tmp_path: Path) -> None:
    def values(parameter: Parameter, normal: Any) -> Any:
        return np.ones(parameter.shape, np.float32) if parameter.name.endswith("wpe.weight") else None

    found = run_with(values, tmp_path)
    assert 200 < np.count_nonzero(found == 1.0) < found.size


def _raises(parameter: Parameter, normal: Any) -> Any:
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("values", "came"),
    [
        (_raises, "RuntimeError: no idea"),
        (lambda p, normal: np.zeros(p.shape), "float64"),
        (lambda p, normal: np.zeros(3, np.float32), r"float32 \(3,\)"),
        (lambda p, normal: [0.0], r"\[0.0\]"),
        (lambda p, normal: np.full(p.shape, np.nan, np.float32), "values that are not finite"),
    ],
)
def test_a_plugin_that_is_wrong_is_told_with_the_parameter(tmp_path: Path, values: Values, came: str) -> None:
    with pytest.raises(PluginError, match=f"initializer mine.*{came}.*for transformer"):
        run_with(values, tmp_path)
    assert not (tmp_path / "run").exists()
