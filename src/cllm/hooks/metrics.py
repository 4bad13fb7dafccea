"""Calls into metrics, which may fail: such a one is left out from then on, and the run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from cllm.hooks.calling import warn
from cllm.hooks.making import problem
from cllm.hooks.protocols import Metric
from cllm.hooks.reports import BatchView


class Metrics:
    """The metrics of a run by label; false where there are none, so that a run without them does nothing for them."""

    def __init__(self, metrics: Mapping[str, Metric], titles: Mapping[str, str]) -> None:
        """titles: by label, what warnings call a metric."""
        self._metrics = dict(metrics)
        self._titles = titles

    def __bool__(self) -> bool:
        return bool(self._metrics)

    def measure(self, batch: BatchView) -> dict[str, float]:
        """The number of each by its label, NaN and infinities as they are; of one that fails, none any more."""
        numbers: dict[str, float] = {}
        for label, metric in list(self._metrics.items()):
            try:
                numbers[label] = _number(metric.measure(batch))
            except Exception as error:
                del self._metrics[label]
                warn(f"metric {self._titles[label]} failed and is left out from here on: {problem(error, metric)}")
        return numbers


def _number(value: object) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"measure returned {value!r}, expected a number")
    return float(value)
