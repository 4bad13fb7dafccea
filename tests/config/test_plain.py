"""What a config cannot hold is refused when it is read, not when a run writes its config.toml."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from cllm.assemble import open_run_data, resolve
from cllm.config import load_config
from cllm.config.plain import DEEPEST, plain
from cllm.errors import ConfigError
from cllm.hooks.manager import build_manager
from tests.runs import config

DATA: dict[str, Any] = {"data": {"path": "book.txt"}}


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ((1, (2,)), [1, [2]]),
        ({"a": None, "b": {"c": None}}, {"b": {}}),
        (date(2024, 1, 31), "2024-01-31"),
        (time(1, 2, 3), "01:02:03"),
        (datetime(2024, 1, 31, 1, 2, 3, 4, timezone(timedelta(hours=1))), "2024-01-31T01:02:03.000004+01:00"),
        ([True, 1, 1.0, "é"], [True, 1, 1.0, "é"]),
    ],
)
def test_what_toml_has_several_forms_of_gets_one(value: Any, held: Any) -> None:
    assert plain(value) == held
    assert plain(held) == held


@pytest.mark.parametrize(
    ("value", "came"),
    [
        ({"a": math.nan}, "optimizer.a = nan"),
        ({"a": [1.0, -math.inf]}, "optimizer.a = -inf"),
        ({"a": "\udcff"}, r"optimizer.a = '\udcff'"),
        ({"\udcff": 1}, r"the key '\udcff' in optimizer"),
        ({1: 1}, "the key 1 in optimizer"),
        ({"a": [None]}, "optimizer.a = None, of type NoneType"),
        ({"a": Path("x")}, "optimizer.a = x, of type PosixPath"),
        ({"a": 10**5000}, "optimizer.a = a number of 16610 bits"),
    ],
)
def test_what_toml_has_not_is_refused_with_its_place(value: Any, came: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(base={**DATA, "optimizer": value})
    assert caught.value.came == came
    assert str(caught.value).isprintable()


def test_a_number_that_python_would_not_print_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.steps = a number of 20000 bits; expected at most 1000"):
        load_config(None, ["data.path=book.txt", f"train.steps=0x{'f' * 5000}"])


def test_tables_nested_too_deep_are_refused_by_every_way_in(tmp_path: Path) -> None:
    keys = ".".join("a" * 3000)
    path = tmp_path / "run.toml"
    path.write_text(f'[data]\npath = "book.txt"\n[optimizer.{keys}]\nx = 1\n')
    for arguments in ((path,), (None, ["data.path=book.txt", f"optimizer.{keys}=1"])):
        with pytest.raises(ConfigError, match=rf"optimizer\.a\.a.* is more than {DEEPEST} deep"):
            load_config(*arguments)


@pytest.mark.parametrize(
    "data",
    [{"path": "a\0/*"}, {"loader": "text", "source": ["b", "a\0/*"]}, {"mixture": [{"path": "b"}, {"path": "a\0/*"}]}],
)
def test_a_path_with_a_zero_byte_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match=r"\[data\] has the path 'a\\x00/\*'; expected a path without zero bytes"):
        load_config(base={"data": data})


def test_epochs_without_an_end_are_refused(tmp_path: Path) -> None:
    settings, plugins = config(tmp_path, "train.epochs=1e308"), build_manager()
    data = open_run_data(settings, plugins, tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"\[train\] epochs = 1e\+308"):
        resolve(settings, data, plugins)
