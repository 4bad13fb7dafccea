"""The engine: one digest whatever the threads, the way of combining and the memory plan; gradients of a whole model."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cllm.engine import Engine
from cllm.errors import DataError, KernelError, MemoryLimitError, UsageError
from cllm.machine import cores
from cllm.models.gpt2 import build
from cllm.outcomes import ReducerFailed
from cllm.reference import Reference
from cllm.stepping import Stepper, compare
from tests.models import CONFIGS, FoldInPython, Gather, Tree, a_batch, a_model, digest, shape


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_agree_with_the_reference(name: str) -> None:
    program, parameters = a_model(name)
    batch = a_batch(program, 5)
    result = Engine(program, 5, 2, seed=7).gradient(parameters, batch, Tree())
    exact = {n: v.astype(np.float64) for n, v in program.views(parameters)}
    reference = Reference(program, exact, batch.inputs, batch.targets, batch.weights, batch=batch.index, seed=7)
    loss = reference.run()
    # In bfloat16 a float32 and a float64 that differ in their last bits may be rounded to neighbours.
    loss_bound, bound = (1e-4, 1e-2) if "bf16" in name else (1e-6, 1e-5)
    assert result.loss == pytest.approx(loss / result.weight_sum, rel=loss_bound)
    for parameter, gradient in program.views(result.gradient):
        expected = reference.gradients[parameter] / result.weight_sum
        assert np.linalg.norm(gradient - expected) <= bound * np.linalg.norm(expected), parameter


# By how many rows of a table the tokens of a batch name.
VOCABULARIES: dict[str, dict[str, int]] = {
    "most rows named": {}, "some rows named": {"vocab_size": 1009}, "few rows named": {"vocab_size": 4001},
}


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("name", CONFIGS)
def test_lockstep_changes_no_bit(name: str, vocabulary: str) -> None:
    """With trees whole or not, with shards of one size or two, and with what a step before has left."""
    program, parameters = a_model(name, **VOCABULARIES[vocabulary])
    for batch_size, micro in ((1, 1), (3, 1), (4, 2), (5, None), (7, 1), (8, 1)):
        batch = a_batch(program, batch_size)
        alone = Engine(program, batch_size, 1, micro_batch_size=micro, seed=7).gradient(parameters, batch, Tree())
        for n_threads in (1, 2, 3):
            engine = Engine(
                program, batch_size, n_threads, micro_batch_size=micro, seed=7, threads_per_shard=n_threads,
                lockstep=True,
            )
            for _ in range(2):
                found = engine.gradient(parameters, batch, Tree())
                assert digest(found.gradient) == digest(alone.gradient)
                assert (found.loss, found.shard_losses) == (alone.loss, alone.shard_losses)


@pytest.mark.parametrize("length", [1, 2])
def test_lockstep_changes_no_bit_of_very_short_sequences(length: int) -> None:
    """A product of one row has a way of its own, a decoder's."""
    program, parameters = a_model("plain", block_size=length)
    batch = a_batch(program, 8)
    batch.targets[0] = np.maximum(batch.targets[0], 0)
    alone, together = (
        Engine(program, 8, 2, micro_batch_size=1, seed=7, threads_per_shard=2, lockstep=lockstep)
        for lockstep in (False, True)
    )
    found = [digest(engine.gradient(parameters, batch, Tree()).gradient) for engine in (alone, together)]
    assert found[0] == found[1]


@pytest.mark.parametrize("vocabulary", ["most rows named", "few rows named"])
@pytest.mark.parametrize("lockstep", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_shard_in_which_no_token_is_counted_adds_nothing(name: str, lockstep: bool, vocabulary: str) -> None:
    """The first or the last one, whatever an earlier step has left in its memory."""
    program, parameters = a_model(name, **VOCABULARIES[vocabulary])
    engine = Engine(program, 4, 2, micro_batch_size=1, seed=7, threads_per_shard=2, lockstep=lockstep)
    exact = {n: v.astype(np.float64) for n, v in program.views(parameters)}
    for spared in (0, 3):
        batch = a_batch(program, 4)
        engine.gradient(parameters, batch, Tree())
        batch.targets[spared] = -1
        result = engine.gradient(parameters, batch, Tree())
        reference = Reference(program, exact, batch.inputs, batch.targets, batch.weights, batch=batch.index, seed=7)
        reference.run()
        bound = 1e-2 if "bf16" in name else 1e-5
        for parameter, gradient in program.views(result.gradient):
            expected = reference.gradients[parameter] / result.weight_sum
            assert np.linalg.norm(gradient - expected) <= bound * np.linalg.norm(expected), parameter


def with_documents(batch: Any, starts: tuple[int, ...]) -> Any:
    """The batch with documents that begin at these places of every row."""
    places = np.arange(batch.inputs.shape[1], dtype=np.int32)
    begins = np.array((0, *starts))
    positions = places - begins[np.searchsorted(begins, places, side="right") - 1]
    batch.positions = np.tile(positions.astype(np.int32), (len(batch.inputs), 1))
    return batch


@pytest.mark.parametrize("name", CONFIGS)
def test_documents_that_are_kept_apart_have_one_digest_and_agree_with_the_reference(name: str) -> None:
    program, parameters = a_model(name)
    batch, digests = with_documents(a_batch(program, 5), (3, 4, 9)), set()
    for n_threads, each, lockstep in ((1, 1, False), (2, 1, False), (3, 3, False), (2, 2, True)):
        engine = Engine(program, 5, n_threads, seed=7, threads_per_shard=each, lockstep=lockstep)
        result = engine.gradient(parameters, batch, Tree())
        digests.add((digest(result.gradient), result.loss))
    assert len(digests) == 1
    assert digest(engine.gradient(parameters, a_batch(program, 5), Tree()).gradient) not in {d for d, _ in digests}
    n_compared = compare(Stepper(program, 5, seed=7), parameters, batch)
    assert n_compared > 10


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_of_short_rows_is_that_of_long_ones_with_padding(name: str) -> None:
    """The same losses; the gradients too, but for dropout, whose masks are those of a row's length."""
    program, parameters = a_model(name)
    long, time = a_batch(program, 5), 7
    long.targets[:, time:], long.weights[:, time:], long.inputs[:, time:] = -1, 0.0, 0
    arrays = {part: np.ascontiguousarray(getattr(long, part)[:, :time]) for part in ("inputs", "targets", "weights")}
    short = SimpleNamespace(index=long.index, positions=None, **arrays)
    found = []
    for n_threads, each, lockstep in ((1, 1, False), (2, 1, False), (3, 3, False), (2, 2, True)):
        engine = Engine(program, 5, n_threads, seed=7, threads_per_shard=each, lockstep=lockstep)
        result = engine.gradient(parameters, short, Tree())
        found.append((digest(result.gradient), result.loss))
        padded = engine.gradient(parameters, long, Tree()).gradient.copy()
        assert found[-1] == (digest(engine.gradient(parameters, short, Tree()).gradient), result.loss)
    assert len(set(found)) == 1
    assert compare(Stepper(program, 5, seed=7), parameters, short) > 10
    if "dropout" not in CONFIGS[name]:
        error = np.linalg.norm(padded - result.gradient)
        assert error <= (1e-2 if "bf16" in name else 1e-6) * np.linalg.norm(padded)


def test_a_batch_of_another_shape_is_refused() -> None:
    program, parameters = a_model("plain")
    engine = Engine(program, 5, 1)
    for change in ({"batch": 4}, {"time": program.block_size + 1}):
        size = {"batch": 5, "time": program.block_size, **change}
        shape_ = (size["batch"], size["time"])
        wrong = SimpleNamespace(
            index=0, inputs=np.zeros(shape_, np.int32), targets=np.zeros(shape_, np.int32),
            weights=np.ones(shape_, np.float32), positions=None,
        )
        with pytest.raises(KernelError, match="match batch_size and block_size"):
            engine.gradient(parameters, wrong, Tree())
    torn = a_batch(program, 5)
    torn.positions = np.zeros((5, 3), np.int32)
    with pytest.raises(KernelError, match="match batch_size and block_size"):
        engine.gradient(parameters, torn, Tree())


def test_large_models_go_in_lockstep_and_small_ones_do_not() -> None:
    large = build(shape(vocab_size=50257, n_embd=768, n_head=12, n_layer=2, block_size=16), "train")
    small, _ = a_model("plain")
    for n_threads in (1, 2):
        assert Engine(large, 4, n_threads).lockstep == (cores().usable >= n_threads > 1 or n_threads == 1)
        assert not Engine(small, 4, n_threads).lockstep
        assert not Engine(large, 4, n_threads, reducer=Gather()).lockstep
    assert not Engine(large, 4, 2, reducer=FoldInPython()).lockstep


def test_an_engine_in_lockstep_refuses_what_wants_whole_gradients() -> None:
    program, parameters = a_model("plain")
    engine = Engine(program, 4, 2, threads_per_shard=2, lockstep=True)
    for reducer in (Gather(), FoldInPython()):
        with pytest.raises(KernelError, match="a compiled fold"):
            engine.gradient(parameters, a_batch(program, 4), reducer)


@pytest.mark.parametrize("name", CONFIGS)
def test_threads_memory_and_way_of_folding_change_no_bit(name: str) -> None:
    program, parameters = a_model(name)
    digests = set()
    for batch_size, micro in ((5, None), (7, 1)):
        seen = set()
        for n_threads in (1, 2, 3, 4, 5, 8, 16):
            for reducer in (Tree(), FoldInPython()):
                for share in (True, False):
                    engine = Engine(
                        program, batch_size, n_threads, micro_batch_size=micro, seed=7, share_memory=share
                    )
                    seen.add(digest(engine.gradient(parameters, a_batch(program, batch_size), reducer).gradient))
        assert len(seen) == 1
        digests |= seen
    assert len(digests) == 2


@pytest.mark.parametrize("reducer", [Tree(), FoldInPython(), Gather()], ids=["inside", "outside", "gather"])
@pytest.mark.parametrize("name", CONFIGS)
def test_teams_change_no_bit(name: str, reducer: Any) -> None:
    """Threads that share a shard: two or three a shard, all on one, more of them than heads, rows or cores."""
    program, parameters = a_model(name)
    batch, digests = a_batch(program, 5), set()
    for n_threads, each in ((1, None), (2, 2), (4, 2), (3, 3), (5, 2), (7, 8)):
        engine = Engine(program, 5, n_threads, seed=7, threads_per_shard=each)
        digests |= {digest(engine.gradient(parameters, batch, reducer).gradient) for _ in range(2)}
    assert len(digests) == 1


def test_a_team_evaluates_to_the_same_bits() -> None:
    program, parameters = build(shape(), "eval"), a_model("plain")[1]
    batches = [a_batch(program, 5, index) for index in range(2)]
    found = {
        Engine(program, 5, n_threads, threads_per_shard=each).losses(parameters, batches)
        for n_threads, each in ((1, None), (2, 2), (6, 3))
    }
    assert len(found) == 1


def test_where_threads_are_refused_leaders_work_alone() -> None:
    """A region that OpenMP gives fewer threads than asked: members would be waited for and never come."""
    code = (
        "from tests.models import Tree, a_batch, a_model, digest\n"
        "from cllm.engine import Engine\n"
        "program, parameters = a_model('plain')\n"
        "engine = Engine(program, 5, 4, seed=7, threads_per_shard=4)\n"
        "print(digest(engine.gradient(parameters, a_batch(program, 5), Tree()).gradient))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **limit}, check=True, capture_output=True, timeout=120
        ).stdout
        for limit in ({}, {"OMP_THREAD_LIMIT": "2"}, {"OMP_THREAD_LIMIT": "1"})
    }
    assert len(outputs) == 1


def test_sixty_four_threads_and_a_second_call() -> None:
    program, parameters = a_model("plain")
    engine = Engine(program, 5, 64, seed=7)
    batch = a_batch(program, 5)
    first = digest(engine.gradient(parameters, batch, Tree()).gradient)
    assert first == digest(engine.gradient(parameters, batch, Tree()).gradient)
    assert first == digest(Engine(program, 5, 1, seed=7).gradient(parameters, batch, Tree()).gradient)


def test_gather_sees_every_shard_and_its_weights() -> None:
    program, parameters = a_model("plain")
    reducer = Gather()
    result = Engine(program, 5, 2, micro_batch_size=2, seed=7).gradient(parameters, a_batch(program, 5), reducer)
    assert reducer.shards == {3}
    assert np.isfinite(result.gradient).all()
    assert result.weight_sum == pytest.approx(float(reducer.weights.sum()))


@pytest.mark.parametrize(("reducer", "method"), [
    (Tree, "__cllm_reducer__"), (FoldInPython, "merge"), (FoldInPython, "finish"), (Gather, "combine"),
])
def test_a_reducers_exception_is_known_as_its_own(reducer: type, method: str) -> None:
    def fails(*arguments: object) -> None:
        raise ZeroDivisionError("none")

    program, parameters = a_model("plain")
    batch, engine = a_batch(program, 5), Engine(program, 5, 2, seed=7)
    before = digest(engine.gradient(parameters, batch, reducer()).gradient)
    broken = reducer()
    setattr(broken, method, fails)
    with pytest.raises(ReducerFailed, match="ZeroDivisionError: none") as caught:
        engine.gradient(parameters, batch, broken)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert digest(engine.gradient(parameters, batch, reducer()).gradient) == before


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    program, parameters = a_model("plain")
    batch = a_batch(program, 5)
    batch.inputs[3, 2] = program.vocab_size
    for each in (None, 2):
        engine = Engine(program, 5, 2, threads_per_shard=each)
        for _ in range(2):
            with pytest.raises(DataError, match="token outside"):
                engine.gradient(parameters, batch, Tree())


def test_an_impossible_size_is_refused_before_it_is_allocated() -> None:
    shape = SimpleNamespace(
        vocab_size=50257, block_size=1024, n_layer=24, n_head=64, n_embd=65536, dropout=0.0, bias=True,
        activation="gelu_tanh", layernorm_epsilon=1e-5, dtype="float32", logit_softcap=0.0,
    )
    with pytest.raises(MemoryLimitError, match="GB"):
        Engine(build(shape, "train"), 512, 2)


def test_what_is_not_counted_leaves_no_trace() -> None:
    program, parameters = a_model("plain")
    batch, other = a_batch(program, 5), a_batch(program, 5)
    other.weights[other.targets < 0] = 123.0
    engine = Engine(program, 5, 2)
    first = digest(engine.gradient(parameters, batch, Tree()).gradient)
    assert first == digest(engine.gradient(parameters, other, Tree()).gradient)


@pytest.mark.parametrize("n_threads", [-1, 0, 1025, 100_000])
def test_threads_that_no_machine_could_start_are_refused(n_threads: int) -> None:
    program, _ = a_model("plain")
    with pytest.raises(UsageError, match=f"engine: {n_threads} threads; expected 1 to 1024"):
        Engine(program, 5, n_threads)
