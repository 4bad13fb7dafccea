"""What ranks cost: the model, what it is fed with, and where ranks begin to pay."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.rank_worker import measured
from benchmarks.rankmodel import Costs, fewest_tokens, moved_bytes
from benchmarks.ranks import line_of, shown
from cllm.ranks import Meeting, Ranks
from tests.ranks.crowd import Crowd, each, each_rank

COSTS = Costs(shards=0.8, rest=0.1, n_shards=8, n_parameters=1_000_000)


def test_a_step_of_several_ranks() -> None:
    assert COSTS.seconds(1, 1.0, 1.0) == pytest.approx(0.9)
    assert COSTS.seconds(2, 1e-3, 1e9) == pytest.approx(0.4 + 0.1 + 2e-3 + 4e-3)
    assert COSTS.seconds(3, 0.0, float("inf")) == pytest.approx(0.3 + 0.1)  # three of eight shards are the most
    assert COSTS.speedup(8, 0.0, float("inf")) == pytest.approx(0.9 / 0.2)


def test_what_a_meeting_moves_is_what_the_model_says() -> None:
    """A rank sends its slices to the owners; the other half is the total."""
    n = 16 * 1000

    def run(ranks: Ranks) -> int:
        meeting = Meeting(ranks, 8, n)
        row = np.ones(n, dtype=np.float32)
        meeting.fold([row], list(range(8)), row, lambda left, right, place: np.add(left, right, out=left))
        assert (row == ranks.n_ranks).all()
        sent: int = ranks.communicator.n_bytes  # type: ignore[attr-defined]
        return sent

    for n_ranks in (2, 4, 8):
        assert [2 * sent for sent in each_rank(n_ranks, run)] == [moved_bytes(n, n_ranks)] * n_ranks


@pytest.mark.parametrize("n_ranks", [2, 8])
def test_where_ranks_begin_to_pay(n_ranks: int) -> None:
    flops, bandwidth, latency, n = 1e11, 1e9, 1e-5, 10_000_000
    tokens = fewest_tokens(flops, bandwidth, latency, n, n_ranks)
    for factor, pays in ((0.99, False), (1.01, True)):
        costs = Costs(6.0 * n * factor * tokens / flops, 0.0, 8, n)
        assert (costs.speedup(n_ranks, latency, bandwidth) > 1.0) is pays


def test_latency_and_moving_are_measured() -> None:
    for found in each(Crowd(2), lambda member: measured(member, 1000)):
        assert 0.0 < found["latency"] < 10.0 and 0.0 < found["least_moving"] <= found["moving"] < 10.0
    assert each(Crowd(1), lambda member: measured(member, 1000))[0]["moving"] == 0.0


def test_a_line_shows_what_was_foreseen() -> None:
    fact = {"latency": 1e-3, "moving": 8e-3, "least_moving": 4e-3}
    line = line_of("S", (2, 1), [0.6, 0.5, 0.7], fact, (COSTS, COSTS), True)
    assert shown(line) == (
        "S     2 x 1  a step 600.00 ms (fastest 500.00), foreseen 510.00 ms (fastest 506.00); a word 1000 us, 0.50 GB/s"
    )
    assert shown(line_of("S", (1, 2), [0.9], fact, (COSTS, COSTS), False)).endswith("900.00 ms (fastest 900.00); NOISY")
