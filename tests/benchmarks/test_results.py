"""Medians, rates and ratios of runs that are given."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.benchmarks.found import comparison


def test_medians_rates_and_ratios() -> None:
    found = comparison()
    ours, theirs = found.sides
    assert (ours.median, theirs.median) == (0.010, 0.020)
    assert found.tokens_per_second(ours) == pytest.approx(25_600)
    assert found.rate(ours) == pytest.approx(1e11)
    assert found.utilisation(theirs) == pytest.approx(0.25)  # of the better peak
    assert found.ratio(theirs) == pytest.approx(2.0)
    assert found.ratios(theirs) == pytest.approx((0.5, 4.0))  # of rounds, not of medians
    assert found.busy_ratio(theirs) == pytest.approx(2.0)


def test_json_has_what_was_measured_and_what_follows() -> None:
    found = comparison()
    whole = json.loads(json.dumps(found.as_json()))
    assert whole["config"] == "XS" and whole["task"]["vocab_size"] == 100
    assert whole["left_out"] == {"jax": "jax is not installed"}
    theirs = whole["sides"][1]
    assert theirs["seconds"] == [0.020, 0.036, 0.010]
    assert theirs["cllm_is_times_as_fast"] == pytest.approx(2.0)
    assert theirs["installed"] is None


def test_a_side_that_stands_alone_has_numbers_too() -> None:
    found = comparison()
    assert found.ratio(replace(found, sides=found.sides[:1]).sides[0]) == 1.0
