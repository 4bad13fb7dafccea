"""Compiled reducers of other packages on several ranks: places are those of all parameters, and no slice ends early."""

from __future__ import annotations

from typing import Any

import pytest

from cllm.outcomes import ReducerFailed
from tests.abi.library import a_fold, a_gather
from tests.kernels.compiling import needs_a_compiler
from tests.models import always_in_lockstep
from tests.ranks.test_gradients import found

pytestmark = needs_a_compiler

REDUCERS = {
    "merge": lambda: a_fold("merge_by_place", state=5),
    "finish": lambda: a_fold("merge_sum", "finish_by_place"),
    "gather": a_gather,
    "scratch": lambda: a_gather("combine_in_scratch", "scratch_of_a_block"),
}


@pytest.mark.parametrize("without", [(), (1, 2)])
@pytest.mark.parametrize("name", REDUCERS)
def test_places_and_totals_are_those_of_one_process(name: str, without: tuple[int, ...]) -> None:
    (expected,) = found("plain", 1, 2, REDUCERS[name](), without)
    for n_ranks, n_threads in ((2, 1), (3, 2), (8, 1)):
        assert found("plain", n_ranks, n_threads, REDUCERS[name](), without) == [expected] * n_ranks


@pytest.mark.parametrize("name", ["merge", "finish"])
def test_in_lockstep(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (expected,) = found("plain", 1, 1, REDUCERS[name]())
    always_in_lockstep(monkeypatch)
    assert found("plain", 4, 1, REDUCERS[name]()) == [expected] * 4


@pytest.mark.parametrize("place", [3, 11000])
def test_who_refuses_a_slice_refuses_for_all(place: int) -> None:
    """Of four ranks with one shard or two, in the meeting or before; the message is the package's."""
    reducer: Any = a_fold("merge_refuses", state=place)
    with pytest.raises(ReducerFailed, match="status 42: this element is mine"):
        found("plain", 4, 1, reducer)
