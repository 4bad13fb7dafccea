"""How threads form teams: every shard has one, every thread is in at most one, and only what gains is split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cllm.teams import LARGE_GRADIENT, form_teams

SMALL, LARGE = 1000, LARGE_GRADIENT // 4 + 1


def sizes(n_shards: int, n_threads: int, n_cores: int, n_parameters: int = SMALL) -> list[int]:
    return [team.n_members for team in form_teams(n_shards, n_threads, n_cores, n_parameters)]


@given(
    st.integers(1, 40), st.integers(1, 80), st.integers(1, 80), st.sampled_from([SMALL, LARGE]),
    st.none() | st.integers(1, 9),
)
def test_every_shard_is_run_and_no_thread_twice(
    n_shards: int, n_threads: int, n_cores: int, n_parameters: int, each: int | None
) -> None:
    teams = form_teams(n_shards, n_threads, n_cores, n_parameters, each)
    assert [s for team in teams for s in range(team.first, team.last)] == list(range(n_shards))
    assert all(team.last > team.first and team.n_members >= 1 for team in teams)
    members = [team.leader + member for team in teams for member in range(team.n_members)]
    assert members == list(range(len(members))) and len(members) <= n_threads
    if each is None:  # whoever waits for others has a core
        assert max(team.n_members for team in teams) == 1 or len(members) <= n_cores


@pytest.mark.parametrize(
    ("n_shards", "n_threads", "n_cores", "expected"),
    [
        (4, 1, 8, [1]),
        (4, 2, 8, [1, 1]),
        (4, 4, 8, [1, 1, 1, 1]),
        (4, 8, 8, [2, 2, 2, 2]),  # threads to spare
        (1, 8, 8, [8]),  # one long sequence
        (4, 3, 8, [3]),  # or two of the three would wait while the last shard runs
        (3, 2, 2, [2]),
        (8, 8, 2, [1] * 8),  # more threads than cores: nobody waits for another
        (4, 16, 2, [1, 1, 1, 1]),
        (2, 5, 4, [2, 2]),
    ],
)
def test_teams(n_shards: int, n_threads: int, n_cores: int, expected: list[int]) -> None:
    assert sizes(n_shards, n_threads, n_cores) == expected


def test_large_gradients_are_shared() -> None:
    assert sizes(4, 2, 2, LARGE) == [2]
    assert sizes(8, 1, 8, LARGE) == [1]
    assert sizes(8, 8, 2, LARGE) == [2]
    assert sizes(16, 16, 16, LARGE) == [8, 8]
