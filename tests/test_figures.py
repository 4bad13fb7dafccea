"""Figures as people read them."""

from __future__ import annotations

import math

import pytest

from cllm.figures import duration, known, rate, short


@pytest.mark.parametrize(
    ("value", "among", "written"),
    [
        (0.0, None, "0"), (0.25, None, "0.25"), (12.0, None, "12"), (1500.0, None, "1.5k"), (2e6, None, "2M"),
        (3e-4, None, "3e-4"), (-3e-4, None, "-3e-4"), (1e38, None, "1e38"), (500.0, 1500.0, "0.5k"), (0.0, 1500.0, "0"),
        (2e-3, 1e-2, "0.002"), (1e-3, 1e-3, "1e-3"), (1.5e-4, 1e-3, "1.5e-4"), (-0.5, 2.0, "-0.5"),
    ],
)
def test_short_numbers(value: float, among: float | None, written: str) -> None:
    assert short(value, among) == written


def test_durations_rates_and_what_is_not_known() -> None:
    assert [duration(s) for s in (0.4, 65, 3723.4, 360_000)] == ["0:00", "1:05", "1:02:03", "100:00:00"]
    assert [rate(r) for r in (12.4, 76_800, 2.5e6)] == ["12", "76.8k", "2.5M"]
    assert [known(v, ".2f") for v in (1.234, None, math.nan)] == ["1.23", "–", "–"]
