"""Compiled reducers, checks and ops of other packages, in runs, against what Python and the reference compute."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

from cllm import Trainer, aligned, kernels
from cllm.abi import FoldReducer, GatherReducer, Scan
from cllm.decoder import Decoder
from cllm.engine import Engine
from cllm.errors import InstabilityAbort, KernelError
from cllm.hooks import GradientView, Ok, SkipStep, Verdict
from cllm.opened import open_reducer
from cllm.outcomes import ReducerFailed
from cllm.reference import Reference
from cllm.stepping import Stepper, compare
from tests.abi.library import a_fold, a_gather, a_program, a_state, at, library, square
from tests.kernels.compiling import needs_a_compiler
from tests.models import Gather, Tree, a_batch, a_model, always_in_lockstep, digest
from tests.runs import config, train
from tests.sharing import WAYS

pytestmark = needs_a_compiler

COMPILERS = ("gcc", "clang", *(f"clang-{version}" for version in range(14, 21)), "tcc")
THREADS = [(1, None), (2, None), (3, 1), (3, 3), (8, 2)]  # and how many share a shard


def gradient_of(reducer: object, n_threads: int, each: int | None, batch_size: int = 5, **how: object) -> np.ndarray:
    program, parameters = a_model("plain")
    engine = Engine(
        program, batch_size, n_threads, seed=7, micro_batch_size=1, threads_per_shard=each, reducer=reducer, **how,
    )
    return engine.gradient(parameters, a_batch(program, batch_size), reducer).gradient.copy()


# --- reducers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_threads", "each"), THREADS)
def test_a_fold_that_adds_has_the_bits_of_the_built_in_one(n_threads: int, each: int | None) -> None:
    assert digest(gradient_of(a_fold(), n_threads, each)) == digest(gradient_of(Tree(), 1, None))


@pytest.mark.parametrize("batch_size", [1, 5, 8])
@pytest.mark.parametrize(("merge", "finish"), [("merge_by_place", ""), ("merge_sum", "finish_by_place")])
def test_places_are_those_of_the_parameters_however_the_work_is_shared(
    merge: str, finish: str, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On any number of threads, in lockstep, from Python where shards are left out, and in another order."""
    reducer = a_fold(merge, finish, state=5)
    found = {digest(gradient_of(reducer, *how, batch_size=batch_size)) for how in THREADS}
    found |= {digest(gradient_of(reducer, 3, 1, batch_size, executor=e)) for e in ("permuted", "adversarial")}
    found.add(digest(folded_in_python(reducer, batch_size)))
    always_in_lockstep(monkeypatch)
    found |= {digest(gradient_of(reducer, n, None, batch_size)) for n in (1, 2, 3)}
    assert len(found) == 1


def folded_in_python(reducer: FoldReducer, batch_size: int) -> np.ndarray:
    """As where shards are left out: the engine calls the compiled functions for whole gradients."""
    program, parameters = a_model("plain")
    engine, opened = Engine(program, batch_size, 2, seed=7, micro_batch_size=1), open_reducer(reducer, "it")
    engine._bind(a_batch(program, batch_size))
    assert opened is not None
    return engine._outcome(engine._fold_outside(parameters, opened, range(batch_size)), 0.0).gradient.copy()


@pytest.mark.parametrize("reducer", [a_gather, lambda: a_gather("combine_in_scratch", "scratch_of_a_block")])
def test_a_gather_has_the_bits_of_one_in_python(reducer: object) -> None:
    expected = digest(gradient_of(Gather(), 1, None))
    assert {digest(gradient_of(reducer(), *how)) for how in THREADS} == {expected}


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_a_reducer_that_refuses_ends_the_step_and_says_why(way: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if way % 2:
        always_in_lockstep(monkeypatch)
    program, parameters = a_model("plain")
    batch, place = a_batch(program, 5), program.n_trainable - 3
    engine = Engine(program, 5, WAYS[way].n_threads, seed=7, micro_batch_size=1)
    before = digest(engine.gradient(parameters, batch, a_fold()).gradient)
    with pytest.raises(ReducerFailed, match="status 42: this element is mine"):
        engine.gradient(parameters, batch, a_fold("merge_refuses", state=place))
    with pytest.raises(ReducerFailed, match="status 42: this element is mine"):
        engine.gradient(parameters, batch, a_fold("merge_refuses", state=place), without={1})
    assert digest(engine.gradient(parameters, batch, a_fold()).gradient) == before


def test_shards_can_be_left_out_with_a_compiled_reducer() -> None:
    program, parameters = a_model("plain")
    batch = a_batch(program, 5)

    def without(reducer: object) -> str:
        engine = Engine(program, 5, 2, seed=7, micro_batch_size=1, reducer=reducer)
        return digest(engine.gradient(parameters, batch, reducer, without={1, 3}).gradient)

    assert without(a_fold()) == without(Tree())
    assert without(a_gather()) == without(Gather())


def test_a_reducer_lives_as_long_as_its_engine_needs_it() -> None:
    """The object that was handed in is gone; what it kept is not."""
    program, parameters = a_model("plain")
    engine, batch = Engine(program, 5, 2, seed=7, micro_batch_size=1), a_batch(program, 5)

    def once() -> str:
        place, kept = a_state(5)
        reducer = FoldReducer(at("merge_by_place"), state=place, keep=kept)
        return digest(engine.gradient(parameters, batch, reducer).gradient)

    assert once() == once()


@pytest.mark.parametrize("compiler", [name for name in COMPILERS if shutil.which(name)])
def test_core_and_part_may_come_from_different_compilers(compiler: str) -> None:
    gather = GatherReducer(at("combine_in_scratch", compiler), at("scratch_of_a_block", compiler))
    assert digest(gradient_of(FoldReducer(at("merge_sum", compiler)), 2, None)) == digest(gradient_of(Tree(), 1, None))
    assert digest(gradient_of(gather, 2, None)) == digest(gradient_of(Gather(), 1, None))


def test_a_callback_of_ctypes_is_a_way_in() -> None:
    """It holds the GIL and is slow; it is right all the same."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, number, number, pointer, pointer)

    def merge(state: object, lo: int, hi: int, left: int, right: int) -> int:
        n = hi - lo
        a, b = (np.ctypeslib.as_array((ctypes.c_float * n).from_address(place)) for place in (left, right))
        kernels.add(a, b)
        return 0

    callback = kind(merge)
    address = ctypes.cast(callback, ctypes.c_void_p).value or 0
    assert digest(gradient_of(FoldReducer(address, keep=callback), 2, None)) == digest(gradient_of(Tree(), 1, None))


# --- checks -----------------------------------------------------------------------------------------------------


class SumCheck:
    """Notes the sum of every gradient; skips step 2."""

    def __init__(self, scan: str = "scan_sum") -> None:
        self._scan = Scan(at(scan), at("finish_sum"), 2, 3, describe=at("what"), keep=library())
        self.found: list[tuple[float, ...]] = []

    def __cllm_check__(self) -> object:
        return self._scan.__cllm_check__()

    def after_scan(self, view: GradientView, found: tuple[float, ...]) -> Verdict:
        self.found.append(found)
        return SkipStep("two") if view.batch_index == 2 else Ok()


def test_a_check_finds_the_same_at_any_number_of_threads(tmp_path: Path) -> None:
    found = []
    for n_threads in (1, 2, 3):
        check = SumCheck()
        settings = config(tmp_path, f"train.threads={n_threads}", "model.n_embd=64", "train.steps=4")
        with Trainer(settings, tmp_path / f"run{n_threads}", checks=[check]) as trainer:
            reports, n = list(trainer), trainer.state.parameters.size
        assert [report.decision for report in reports][2] == "skip"
        found.append(check.found)
    assert found[0] == found[1] == found[2]
    assert n > 3 * 16384
    assert {(numbers[1], numbers[2]) for numbers in found[0]} == {(float(n), float(-(-n // 16384)))}


def test_a_check_that_refuses_has_failed(tmp_path: Path) -> None:
    with pytest.raises(InstabilityAbort, match="check SumCheck: status 9, which it does not describe"):
        train(config(tmp_path), tmp_path / "run", checks=[SumCheck("scan_refuses")])


# --- ops --------------------------------------------------------------------------------------------------------


def a_step(n_threads: int, each: int | None = None, kind: object = None) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of a small batch, and the parameters."""
    program = a_program(kind or square())
    parameters = aligned.zeros(program.n_parameters)
    parameters[:] = np.random.default_rng(3).standard_normal(parameters.size).astype(np.float32) * 0.3
    engine = Engine(program, 5, n_threads, seed=7, threads_per_shard=each)
    return engine.gradient(parameters, a_batch(program, 5), Tree()).gradient.copy(), parameters


def test_an_op_has_the_gradient_of_its_reference() -> None:
    gradient, parameters = a_step(1)
    program = a_program(square())
    batch, views = a_batch(program, 5), dict(program.views(parameters))
    reference = Reference(
        program, {name: view.astype(np.float64) for name, view in views.items()}, batch.inputs, batch.targets,
        batch.weights, 0, batch.index, 7,
    )
    reference.run()
    weight = float(batch.weights[batch.targets >= 0].sum())
    for name, part in program.views(gradient):
        np.testing.assert_allclose(part, reference.gradients[name] / weight, rtol=2e-4, atol=1e-6, err_msg=name)


def test_an_op_gives_the_same_bits_on_any_number_of_threads() -> None:
    assert len({digest(a_step(*how)[0]) for how in THREADS}) == 1


def test_an_op_is_walked_and_compared_step_by_step() -> None:
    program, (_, parameters) = a_program(square()), a_step(1)
    stepper = Stepper(program, 5, seed=7)
    assert compare(stepper, parameters, a_batch(program, 5)) > 0


def test_an_op_decodes() -> None:
    """A token after the other as all at once."""
    program, (_, parameters) = a_program(square(), "decode"), a_step(1)
    whole, parts = Decoder(program, parameters), Decoder(program, parameters, 2)
    expected = whole.feed([1, 5, 2, 9]).copy()
    for token in [1, 5, 2]:
        parts.feed([token])
    assert parts.feed([9]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("how", THREADS)
def test_an_op_that_refuses_ends_the_step_and_says_which_it_is(direction: str, how: tuple[int, int | None]) -> None:
    with pytest.raises(KernelError, match=r"op square: status 7: no squares today"):
        a_step(*how, kind=square(**{direction: "square_refuses"}))


def test_an_op_that_refuses_is_told_by_the_other_executors_too() -> None:
    _, parameters = a_step(1)
    refusing = square(forward="square_refuses")
    program = a_program(refusing)
    with pytest.raises(KernelError, match="status 7"):
        list(Stepper(program, 5, seed=7).walk(parameters, a_batch(program, 5)))
    with pytest.raises(KernelError, match="status 7"):
        Decoder(a_program(refusing, "decode"), parameters).feed([1])
