"""Executors that do a step in another order: one digest, whichever thread comes when, and whichever shard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cllm.disorder import EXECUTORS, Disorder, Executor
from cllm.engine import Engine
from cllm.errors import ConfigError, DataError, UsageError
from cllm.lowering import lower
from cllm.memory import engine_memory
from cllm.models.gpt2 import build
from cllm.teams import form_teams
from cllm.workers import Workers
from tests.evidence import record
from tests.models import CONFIGS, Tree, a_batch, a_model, digest, shape
from tests.runs import config, digest_of, train
from tests.sharing import ALONE, WAYS, GatheredTree, Way
from tests.test_golden import OVERRIDES, RUNS

IN_DISORDER: tuple[Executor, ...] = ("permuted", "adversarial")


def digests_of(name: str, n_orders: int) -> set[str]:
    """Of `n_orders` steps in disorder, shared among all ways, and of the usual order."""
    program, parameters = a_model(name, n_layer=1)
    batch = a_batch(program, 7)
    found = {digest(ALONE.engine(program, 7, micro_batch_size=1).gradient(parameters, batch, Tree()).gradient)}
    combinations = [(way, executor) for way in WAYS for executor in IN_DISORDER]
    for number, (way, executor) in enumerate(combinations):
        engine = way.engine(program, 7, executor, micro_batch_size=1, order_seed=number)
        for _ in range(number, n_orders, len(combinations)):
            found.add(digest(engine.gradient(parameters, batch, way.reducer).gradient))
    return found


def test_a_thousand_orders_have_one_digest() -> None:
    begin = time.monotonic()
    found = digests_of("plain", 1000)
    seconds = time.monotonic() - begin
    assert len(found) == 1
    record("orders", orders=1000, ways=len(WAYS), digests=len(found), seconds=round(seconds))
    # A minute is the promise on a machine of one's own, where it takes a quarter of that.
    assert seconds < 180


@pytest.mark.parametrize("name", CONFIGS)
def test_every_kind_of_model(name: str) -> None:
    assert len(digests_of(name, 2 * len(WAYS))) == 1


@pytest.mark.parametrize("executor", IN_DISORDER)
def test_an_evaluation_is_the_same(executor: Executor) -> None:
    program, parameters = build(shape(), "evaluate"), a_model("plain")[1]
    batches = [a_batch(program, 5, n) for n in range(3)]
    expected = Engine(program, 5, 1).losses(parameters, batches)
    for n_threads, each in ((2, None), (4, 2), (3, 3)):
        engine = Engine(program, 5, n_threads, threads_per_shard=each, executor=executor)
        assert engine.losses(parameters, batches) == expected


@pytest.mark.parametrize("executor", IN_DISORDER)
def test_a_run_is_the_same(executor: Executor, tmp_path: Path) -> None:
    settings = config(tmp_path, OVERRIDES["dropout"], "train.threads=2", f"train.executor={executor}")
    train(settings, tmp_path / "run")
    assert digest_of(tmp_path / "run") == RUNS["dropout"]


@pytest.mark.parametrize("executor", IN_DISORDER)
@pytest.mark.parametrize("way", [Way(2, 1), Way(3, 3), Way(2, 2, lockstep=True)])
def test_a_refused_token_ends_the_step_for_all(way: Way, executor: Executor) -> None:
    program, parameters = a_model("plain", n_layer=1)
    wrong, right = a_batch(program, 7), a_batch(program, 7)
    wrong.inputs[3, 2] = program.vocab_size
    engine = way.engine(program, 7, executor, micro_batch_size=1)
    for _ in range(5):
        with pytest.raises(DataError, match="token outside"):
            engine.gradient(parameters, wrong, Tree())
    found = digest(engine.gradient(parameters, right, Tree()).gradient)
    alone = ALONE.engine(program, 7, micro_batch_size=1)
    assert found == digest(alone.gradient(parameters, right, Tree()).gradient)


class Seen:
    """Takes the place of the compiled executor, and looks at what is drawn."""

    def __init__(self) -> None:
        self.slow: list[int] = []
        self.has_order: list[bool] = []

    def set_disorder(self, workers: int, turns: int, order: int, slow: int) -> None:
        self.slow.append(slow)
        self.has_order.append(order != 0)


def drawn(executor: Executor, n_calls: int, seed: int = 1) -> tuple[Seen, list[tuple[Any, ...]]]:
    program, _ = a_model("plain", n_layer=1)
    workers = Workers(lower(program, 16, 16), form_teams(7, 3, 3, program.n_trainable), 3)
    disorder, seen, orders = Disorder(executor, seed, 3, 7), Seen(), []
    for _ in range(n_calls):
        disorder.draw(seen, workers, in_order=False)  # type: ignore[arg-type]
        order = disorder._order.tolist()
        for first, last in workers.runs():
            assert sorted(order[first:last]) == list(range(first, last))
        orders.append((tuple(disorder._workers), tuple(disorder._turns), tuple(order), *workers.records["dice"]))
    return seen, orders


def test_permuted_draws_another_order_for_every_call() -> None:
    seen, orders = drawn("permuted", 200)
    assert len(set(orders)) == 200
    assert {workers for workers, *_ in orders} == {turns for _, turns, *_ in orders}
    assert len({workers for workers, *_ in orders}) == 6
    assert set(seen.slow) == {3}, "nobody is"
    assert orders[:5] == drawn("permuted", 5)[1]
    assert orders[:5] != drawn("permuted", 5, seed=2)[1]


def test_adversarial_goes_backward_with_each_thread_slow_in_its_turn() -> None:
    seen, orders = drawn("adversarial", 50)
    assert {(workers, turns) for workers, turns, *_ in orders} == {((2, 1, 0), (2, 1, 0))}
    assert all(order[0] > 0 and order[-1] < 6 for _, _, order, *_ in orders)
    assert set(seen.slow) == {0, 1, 2}


def test_the_order_is_kept_to() -> None:
    """By what each worker writes down."""
    program, parameters = a_model("plain", n_layer=1)
    engine = Way(2, 1).engine(program, 7, "adversarial", micro_batch_size=1)
    with engine.recording(1) as recorded:
        engine.gradient(parameters, a_batch(program, 7), GatheredTree())
    for events, run in zip(recorded.threads(), ((0, 1, 2), (3, 4, 5, 6)), strict=True):
        shards = events["shard"][events["what"] >= 0].tolist()
        assert set(shards) == set(run) and shards == sorted(shards, reverse=True)


def test_what_permuting_takes_is_counted() -> None:
    """Of every shard a gradient."""
    program, parameters = a_model("plain")
    found = engine_memory(program, 7, 2, 1, Tree(), executor="permuted")["gradients"]
    assert found == 4 * 7 * program.n_trainable
    assert found > engine_memory(program, 7, 2, 1, Tree(), executor="adversarial")["gradients"]
    engine = Engine(program, 7, 2, micro_batch_size=1, executor="permuted")
    engine.gradient(parameters, a_batch(program, 7), Tree())
    assert 4 * sum(row.size for row in engine._gradients._rows) == found


def test_other_names_are_refused(tmp_path: Path) -> None:
    program, _ = a_model("plain")
    with pytest.raises(UsageError, match='fused, permuted, adversarial; did you mean "permuted"'):
        Engine(program, 5, 2, executor="permutated")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="permuted"):
        config(tmp_path, "train.executor=random")
    assert ("fused", *IN_DISORDER) == EXECUTORS
