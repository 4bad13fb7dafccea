"""Calls into metrics that may fail: such a one is left out, the others go on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cllm.config import Part
from cllm.errors import ConfigError, PluginError
from cllm.hooks import BatchView, found
from cllm.hooks.making import check_shape
from cllm.hooks.manager import build_manager
from cllm.hooks.metrics import Metrics

BATCH = BatchView(3, 2, np.ones((1, 2), np.int32), np.ones((1, 2), np.int32), np.ones((1, 2), np.float32))


class Answers:
    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def measure(self, batch: BatchView) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def metrics(**answers: Answers) -> Metrics:
    return Metrics(answers, {label: f"{label} (its title)" for label in answers})


def test_numbers_come_by_label_as_floats() -> None:
    numbers = metrics(a=Answers(1), b=Answers(np.float32(0.5)), c=Answers(math.nan)).measure(BATCH)
    assert list(numbers) == ["a", "b", "c"] and {type(number) for number in numbers.values()} == {float}
    assert (numbers["a"], numbers["b"]) == (1.0, 0.5) and math.isnan(numbers["c"])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ZeroDivisionError("no tokens"), "ZeroDivisionError: no tokens (test_metrics.py:"),
        ("0.5", "TypeError: measure returned '0.5', expected a number"),
        (None, "TypeError: measure returned None, expected a number"),
    ],
)
def test_one_that_fails_is_left_out_and_said_so(
    answer: object, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    both = metrics(bad=Answers(answer), good=Answers(1.0, 2.0))
    assert both.measure(BATCH) == {"good": 1.0}
    error = capsys.readouterr().err
    assert f"cllm: warning: metric bad (its title) failed and is left out from here on: {told}" in error
    assert both.measure(BATCH) == {"good": 2.0}
    assert capsys.readouterr().err == ""


def test_none_are_false_so_that_nothing_is_done_for_them() -> None:
    assert not metrics() and metrics(a=Answers())
    last = metrics(a=Answers(RuntimeError("once")))
    last.measure(BATCH)
    assert not last


def test_what_cannot_measure_is_refused() -> None:
    with pytest.raises(PluginError, match="a object without measure; expected measure"):
        check_shape("metric", object(), "metric mine")


@pytest.mark.parametrize(
    ("name", "todo"),
    [("crystal.no_such", "pip install ./plugins/cllm-crystal"), ("mine", "load the plugin that has it: -p FILE")],
)
def test_where_there_is_none_the_error_says_what_brings_one(
    name: str, todo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found, "installed", lambda: ())
    with pytest.raises(ConfigError) as caught:
        build_manager().make("metric", Part(name), label="similarity")
    assert caught.value.came == f'[metrics.similarity] name = "{name}"'
    assert caught.value.expected == "a metric that a plugin brings, and there is none"
    assert todo in caught.value.todo
