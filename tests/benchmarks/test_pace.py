"""How many steps are made: fewer where they are long, never none; and when losses agree."""

from __future__ import annotations

from math import nan

import pytest

from benchmarks.pace import agree, check_steps, run_steps


@pytest.mark.parametrize(
    ("seconds", "steps"), [(0.001, 10), (1.0, 10), (2.0, 5), (3.5, 3), (30.0, 3)],
)
def test_a_check_has_ten_steps_or_three_where_they_take_seconds(seconds: float, steps: int) -> None:
    assert check_steps(seconds) == steps


@pytest.mark.parametrize(
    ("step", "run", "steps"), [(0.001, 2.0, 2000), (0.3, 2.0, 7), (1.5, 2.0, 1), (5.0, 2.0, 1), (5.0, 0.01, 1)],
)
def test_a_run_lasts_as_long_as_was_asked_and_has_a_step(step: float, run: float, steps: int) -> None:
    assert run_steps(step, run) == steps


def test_the_first_loss_has_a_bound_of_its_own() -> None:
    assert agree([4.0, 3.0], [4.0, 3.0001], (1e-6, 1e-4))
    assert not agree([4.0, 3.0], [4.0001, 3.0], (1e-6, 1e-4))
    assert not agree([4.0, 3.0], [4.0, 3.01], (1e-6, 1e-4))


def test_losses_that_are_no_numbers_agree_with_nothing() -> None:
    assert not agree([nan], [nan], (1e-6, 1e-4))
