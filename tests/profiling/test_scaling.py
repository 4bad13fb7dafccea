"""The prediction of more threads: exact where the model is exact, and never better than what the tree allows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cllm.profiling.profile import Span
from cllm.profiling.scaling import MEETING, StepCosts, costs_of, memory_speedups, predict
from cllm.recording import FOLD, MEET, PACK


def costs(shards: tuple[float, ...], n_ops: int = 0, **changes: float) -> StepCosts:
    values = {"merge": 0.0, "pack": 0.0, "scale": 0.0, "streaming": 0.0, "serial": 0.0}
    return StepCosts(1000, shards, n_ops, **{**values, **changes})


def test_equal_shards_and_nothing_else_scale_as_far_as_shards_go() -> None:
    step = costs((1.0,) * 8)
    assert [8.0 / predict(step, n, n) for n in (1, 2, 4, 8)] == [1, 2, 4, 8]


def test_a_slow_shard_holds_up_its_thread() -> None:
    assert predict(costs((1.0, 1.0, 1.0, 5.0)), 4, 4.0) == 5.0
    assert predict(costs((1.0, 1.0, 1.0, 5.0)), 2, 2.0) == 6.0


def test_threads_beyond_shards_work_in_teams_and_lose_what_meeting_takes() -> None:
    assert predict(costs((1.0,), n_ops=1000), 8, 8.0) == pytest.approx(1.0 / 8 + 1000 * MEETING)
    assert predict(costs((1.0,) * 2, n_ops=1000), 8, 8.0) == pytest.approx(1.0 / 4 + 1000 * MEETING)
    # Of ops that are so short that teams would lose more than a tenth none is formed.
    assert predict(costs((1.0,), n_ops=10**6), 8, 8.0) == pytest.approx(1.1 / 8)


def test_serial_time_stays() -> None:
    assert predict(costs((1.0,) * 4, serial=1.0), 4, 4.0) == 2.0


def test_shared_passes_speed_up_no_more_than_memory_does() -> None:
    step = costs((0.0,) * 4, pack=1.0, scale=1.0, streaming=2.0)
    assert predict(step, 4, 4.0) == 1.0
    assert predict(step, 4, 1.6) == pytest.approx(2.5)


def test_one_thread_folds_all_and_several_meet() -> None:
    step = costs((0.0,) * 8, merge=1.0)
    assert predict(step, 1, 1.0) == 7.0  # seven merges of eight gradients, all its own
    # Two threads fold four each, three merges side by side; then the two halves meet, a slice for each thread.
    assert predict(step, 2, 2.0) == 3.5


def test_bandwidth_beyond_what_was_measured_is_the_most_that_was() -> None:
    measured = {1: 10.0, 2: 15.0}
    assert memory_speedups(measured, 1) == 1.0
    assert memory_speedups(measured, 2) == memory_speedups(measured, 8) == 1.5


def test_costs_are_told_apart_whether_weights_are_packed_once_a_step_or_for_every_op() -> None:
    """Two steps of two shards; what is recorded is what of whom, from when to when."""

    def recorded(*of_a_step: tuple[int, int, float, float]) -> Any:
        event = np.dtype([("what", np.int64), ("shard", np.int64), ("begin", np.float64), ("end", np.float64)])
        events = np.array([(w, s, b + at, e + at) for at in (10.0, 20.0) for w, s, b, e in of_a_step], dtype=event)
        spans = [
            Span(name, at + b, at + e)
            for at in (10.0, 20.0)
            for name, b, e in (("optimizer", 8.0, 8.5), ("step", 0.0, 9.0))
        ]
        program = SimpleNamespace(n_trainable=1000)
        return SimpleNamespace(threads=[events], spans=spans, n_steps=2, rows=(4, 4), program=program)

    ending = (FOLD, 0, 6.0, 6.5), (MEET, 0, 7.0, 7.5)
    once = recorded(
        (PACK, 0, 0.0, 1.0), (0, 0, 1.0, 2.0), (1, 0, 2.0, 3.0), (0, 1, 3.0, 4.0), (1, 1, 4.0, 5.0), *ending
    )
    lockstep = recorded(
        (PACK, 0, 0.0, 0.5), (0, 0, 0.5, 1.5), (0, 1, 1.5, 2.5),
        (PACK, 0, 2.5, 3.0), (1, 0, 3.0, 4.0), (1, 1, 4.0, 5.0), *ending,
    )
    expected = StepCosts(1000, (2.0, 2.0), 2, merge=0.5, pack=1.0, scale=0.5, streaming=0.5, serial=2.5)
    assert costs_of(once) == costs_of(lockstep) == expected
