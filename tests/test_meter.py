"""What threads were at work: shares that follow from seconds, and seconds that kernels really add up."""

from __future__ import annotations

import numpy as np
import pytest

from cllm import kernels
from cllm.engine import Engine
from cllm.meter import Meter, Utilisation, utilisation_of
from tests.models import Gather, Tree, a_batch, a_model


def test_two_threads_that_work_all_the_time() -> None:
    assert utilisation_of([2.0, 2.0], 2.0, 2.0) == Utilisation(1.0, 1.0, 0.0, 1.0)


def test_one_thread_works_half_as_long_as_the_other() -> None:
    found = utilisation_of([1.0, 2.0], 2.0, 2.0)
    assert found == Utilisation(0.75, 0.75, 0.0, 0.75)


def test_half_of_the_time_is_serial() -> None:
    found = utilisation_of([1.0, 1.0], 1.0, 2.0)
    assert found == Utilisation(0.5, 1.0, 0.5, 0.75)


def test_clocks_that_disagree_give_shares_all_the_same() -> None:
    assert utilisation_of([2.1], 2.2, 2.0) == Utilisation(1.0, 1.0, 0.0, 1.0)
    assert utilisation_of([0.0, 0.0], 0.0, 0.0) == Utilisation(1.0, 1.0, 0.0, 1.0)


@pytest.mark.parametrize("reducer", [Tree(), Gather()], ids=["fold", "gather"])
def test_every_thread_s_work_on_shards_is_seen(reducer: object) -> None:
    program, parameters = a_model("plain")
    engine, batch = Engine(program, 8, 2), a_batch(program, 8)
    with Meter(2) as meter:
        engine.gradient(parameters, batch, reducer)  # type: ignore[arg-type]
    assert all(seconds > 0.0 for seconds in meter.busy)
    assert meter.parallel_seconds > 0.0


@pytest.mark.skipif(not kernels.OPENMP, reason="a team needs threads")
def test_waiting_for_a_team_is_no_work() -> None:
    """One head of one sequence is the second thread's: in attention the first waits."""
    program, parameters = a_model("plain", n_head=1, n_embd=32, block_size=256)
    engine, batch = Engine(program, 1, 2, threads_per_shard=2), a_batch(program, 1)
    engine.gradient(parameters, batch, Tree())
    with Meter(2) as meter:
        for _ in range(5):
            engine.gradient(parameters, batch, Tree())
    assert meter.busy[0] < meter.busy[1]


def test_norms_scaling_and_optimizers_are_work() -> None:
    x, m, v = (np.ones(1 << 20, dtype=np.float32) for _ in range(3))
    program, _ = a_model("plain")
    runs = kernels.segments(program.parameters, 0.1)
    calls = {
        "scale": lambda: kernels.scale(x, 0.5, 2),
        "norms": lambda: kernels.Norms(program.parameters).compute(x, 2),
        "sgd": lambda: kernels.sgd(x, x, None, runs, learning_rate=0.1, momentum=0.0, gradient_scale=1.0, n_threads=2),
        "adamw": lambda: kernels.adamw(
            x, x.copy(), m, v, runs, learning_rate=0.1, betas=(0.9, 0.99), epsilon=1e-8, corrections=(0.1, 0.01),
            gradient_scale=1.0, n_threads=2,
        ),
    }
    for name, call in calls.items():
        with Meter(2) as meter:
            call()
        assert all(seconds > 0.0 for seconds in meter.busy), name
        assert meter.parallel_seconds > 0.0, name


def test_outside_a_meter_and_in_one_that_is_too_small_nothing_is_added() -> None:
    x = np.ones(1000, dtype=np.float32)
    with Meter(1) as meter:
        kernels.scale(x, 0.5, 2)
    kernels.scale(x, 0.5, 1)
    assert meter.busy == [0.0] and meter.parallel_seconds == 0.0
