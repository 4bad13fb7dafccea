"""The gradient of one process at any number of ranks, whatever the reducer, the executor and the shards left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cllm.builtin.reducers import OrderedReducer, TreeReducer
from cllm.engine import Engine
from cllm.memory import engine_memory
from cllm.outcomes import ENDINGS, Gradient, Interrupted, ReducerFailed
from cllm.ranks import RankFailed, Ranks, join
from cllm.share import Share
from tests.models import CONFIGS, FoldInPython, Tree, a_batch, a_model, always_in_lockstep, build, digest, shape
from tests.ranks.crowd import Crowd, each, each_rank
from tests.test_golden import GRADIENTS

RANKS = (1, 2, 3, 4, 8)
REDUCERS = {"compiled": TreeReducer, "python": FoldInPython, "gather": OrderedReducer}
SHARDS = 7  # no power of two: runs of 2 and 3, subtrees that are passed on


def found(name: str, n_ranks: int, n_threads: int, reducer: Any, without: tuple[int, ...] = (), **more: Any) -> Any:
    """The gradient on every rank, as plain values."""
    program, parameters = a_model(name)

    def run(ranks: Ranks) -> Any:
        engine = Engine(program, SHARDS, n_threads, micro_batch_size=1, seed=7, ranks=ranks, reducer=reducer, **more)
        for index in (2, 3):  # memory of the step before is used again
            made = engine.gradient(parameters, a_batch(program, SHARDS, index), reducer, without)
        return seen(made)

    return each_rank(n_ranks, run)


def seen(made: Gradient) -> Any:
    return digest(made.gradient), made.norm, made.loss, made.shard_losses, made.shard_weights


@pytest.mark.parametrize("n_ranks", RANKS)
@pytest.mark.parametrize("name", CONFIGS)
def test_golden_gradients(name: str, n_ranks: int) -> None:
    program, parameters = a_model(name)

    def run(ranks: Ranks) -> str:
        engine = Engine(program, 5, 2, seed=7, ranks=ranks)
        return digest(engine.gradient(parameters, a_batch(program, 5), TreeReducer()).gradient)

    assert each_rank(n_ranks, run) == [GRADIENTS[name]] * n_ranks


@pytest.mark.parametrize("without", [(), (0,), (2, 3), (1, 2, 3, 4, 5, 6)])
@pytest.mark.parametrize("reducer", REDUCERS)
def test_any_number_of_ranks_and_threads(reducer: str, without: tuple[int, ...]) -> None:
    (expected,) = found("plain", 1, 1, REDUCERS[reducer](), without)
    for n_ranks, n_threads in ((2, 1), (3, 2), (4, 3), (8, 2)):
        assert found("plain", n_ranks, n_threads, REDUCERS[reducer](), without) == [expected] * n_ranks


@pytest.mark.parametrize("executor", ["permuted", "adversarial"])
def test_any_order_of_shards(executor: str) -> None:
    (expected,) = found("plain", 1, 1, TreeReducer())
    assert found("plain", 3, 2, TreeReducer(), executor=executor) == [expected] * 3


@pytest.mark.parametrize("without", [(), (2, 3)])
@pytest.mark.parametrize("name", ["plain", "llama"])
def test_lockstep(name: str, without: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """plain: with a tied embedding, whose rows are named. Of seven shards the last rank of 3 has 4 to 6: two trees."""
    (expected,) = found(name, 1, 1, TreeReducer(), without)
    always_in_lockstep(monkeypatch)
    for n_ranks in (2, 3, 4):
        got = found(name, n_ranks, 2, TreeReducer(), without, threads_per_shard=2)  # one team
        assert got == [expected] * n_ranks


def test_lockstep_is_kept_where_the_shards_of_a_rank_are_one_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    always_in_lockstep(monkeypatch)
    program, _ = a_model("plain")

    def goes(ranks: Ranks) -> bool:
        return Engine(program, 8, 1, micro_batch_size=1, ranks=ranks).lockstep

    assert each_rank(2, goes) == [True, True]
    assert each_rank(3, goes) == [True, False, False]  # 0 to 1, 2 to 4, 5 to 7


def test_any_rank_computes_any_shard_alone() -> None:
    program, parameters = a_model("plain")
    alone = Engine(program, SHARDS, 1, micro_batch_size=1)
    batch = a_batch(program, SHARDS)
    expected = [digest(alone.shard_gradient(parameters, batch, shard)) for shard in range(SHARDS)]

    def run(ranks: Ranks) -> list[str]:
        engine = Engine(program, SHARDS, 2, micro_batch_size=1, ranks=ranks)
        engine.gradient(parameters, batch, TreeReducer())
        return [digest(engine.shard_gradient(parameters, batch, shard)) for shard in range(SHARDS)]

    assert each_rank(3, run) == [expected] * 3


def test_the_losses_of_an_evaluation_are_divided_and_have_the_same_bits() -> None:
    program = build(shape(), "evaluate")
    _, parameters = a_model("plain")
    batches = [a_batch(program, 5, index) for index in range(7)]
    expected = Engine(program, 5, 1).losses(parameters, batches)
    for n_ranks in (2, 3, 8):
        got = each_rank(n_ranks, lambda ranks: Engine(program, 5, 2, ranks=ranks).losses(parameters, iter(batches)))
        assert got == [expected] * n_ranks


def test_fast_adds_all_ranks_up_and_needs_no_tree() -> None:
    (expected,) = found("plain", 1, 1, TreeReducer())
    program, parameters = a_model("plain")

    def run(ranks: Ranks) -> Any:
        engine = Engine(program, SHARDS, 1, micro_batch_size=1, seed=7, ranks=ranks)
        return engine.gradient(parameters, a_batch(program, SHARDS), TreeReducer()).gradient.copy()

    exact, *_ = each_rank(1, run)
    for n_ranks in (3, 8):
        got = each_rank(n_ranks, run, fast=True)
        assert all(np.array_equal(one, got[0]) for one in got)
        np.testing.assert_allclose(got[0], exact, rtol=1e-4, atol=1e-6)
    assert digest(got[0]) != expected[0]  # of 8 ranks: so the promise has to be given up


# --- endings ----------------------------------------------------------------------------------------------------


class Failing(FoldInPython):
    """Fails in its third merge, on the rank that has it."""

    def __init__(self) -> None:
        self.left = 3

    def merge(self, left: np.ndarray, right: np.ndarray) -> None:
        self.left -= 1
        if not self.left:
            raise ValueError("no more")
        super().merge(left, right)


def outcomes(n_ranks: int, one: int, break_it: Any, reducer: Any = TreeReducer) -> list[Any]:
    """What every rank raises where `break_it(engine)` has been called on rank `one`."""
    program, parameters = a_model("plain")

    def run(member: Any) -> None:
        engine = Engine(program, SHARDS, 1, micro_batch_size=1, ranks=join(member, ENDINGS))
        mine = reducer() if member.rank == one else Tree()
        if member.rank == one:
            break_it(engine)
        engine.gradient(parameters, a_batch(program, SHARDS), mine)

    return each(Crowd(n_ranks), run)


def test_a_stop_of_one_rank_stops_all() -> None:
    assert [type(error) for error in outcomes(3, 1, lambda engine: engine.stop())] == [Interrupted] * 3


def test_a_reducer_that_fails_on_one_rank_fails_on_all() -> None:
    errors = outcomes(2, 1, lambda engine: None, Failing)
    assert [type(error) for error in errors] == [ReducerFailed] * 2
    assert "no more" in str(errors[0]) and "rank 1" in str(errors[0])


def test_whatever_else_fails_on_one_rank_is_told_to_all() -> None:
    def spoil(engine: Engine) -> None:
        engine._pack = None  # type: ignore[method-assign, assignment]
        engine._fold_inside = None  # type: ignore[method-assign, assignment]

    errors = outcomes(4, 2, spoil)
    assert isinstance(errors.pop(2), TypeError)
    assert [type(error) for error in errors] == [RankFailed] * 3
    assert "rank 2 ended: TypeError" in str(errors[0])


# --- memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reducer", REDUCERS)
def test_memory_is_counted_for_each_rank(reducer: str) -> None:
    program, parameters = a_model("plain")
    made = REDUCERS[reducer]()

    def run(ranks: Ranks) -> tuple[int, int]:
        engine = Engine(program, SHARDS, 2, micro_batch_size=1, ranks=ranks, reducer=made)
        engine.gradient(parameters, a_batch(program, SHARDS), made)
        rows = sum(row.nbytes for row in engine._gradients._rows)
        gathered = engine._gradients._gathered
        assert engine._meeting is not None
        return rows + (gathered[0].nbytes if gathered else 0), engine._meeting._memory.nbytes

    for rank, (gradients, exchange) in enumerate(each_rank(3, run)):
        said = engine_memory(program, SHARDS, 2, 1, made, share=Share(rank, 3, 1))
        assert gradients <= said["gradients"] + 4 * program.n_trainable
        assert abs(exchange - said["exchange"]) <= SHARDS * 3 * 64
