"""TrainState: one value from which the run goes on, with a digest that only its content decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cllm import state as state_module
from cllm.errors import CheckpointError
from cllm.state import check_tensors, first_non_finite, refuse_non_finite
from tests.saving import N_ELEMENTS, TABLE, Adam, Spike, moved, new_state, state_at


def test_views_have_the_names_and_shapes_of_the_table_and_tied_tensors_have_none() -> None:
    state = new_state()
    views = state.views()
    assert {name: view.shape for name, view in views.items()} == {
        "transformer.wte.weight": (5, 4),
        "transformer.wpe.weight": (3, 4),
        "transformer.ln_f.bias": (4,),
    }
    views["transformer.ln_f.bias"][1] = 7
    assert state.parameters[49] == 7


def test_the_digest_ignores_padding_and_place() -> None:
    state = state_at(3)
    elsewhere = state_at(3, moved(TABLE, 16), N_ELEMENTS + 20)
    assert isinstance(elsewhere.optimizer, Adam)
    gap = slice(0, 16)
    elsewhere.parameters[gap] = elsewhere.optimizer.first[gap] = np.nan
    assert elsewhere.digest() == state.digest()


def test_the_digest_ignores_moments_of_frozen_parameters_and_memories_of_checks() -> None:
    state = state_at(3)
    assert isinstance(state.optimizer, Adam)
    state.optimizer.first[32:44] = 1
    state.checks = {}
    assert state.digest() == state_at(3).digest()


@pytest.mark.parametrize("index", [0, 19, 32, 43, 48, 51])
def test_every_parameter_is_in_the_digest(index: int) -> None:
    state = state_at(3)
    state.parameters[index] += 1
    assert state.digest() != state_at(3).digest()


@pytest.mark.parametrize("index", [0, 19, 48, 51])
@pytest.mark.parametrize("array", ["first", "second"])
def test_every_moment_is_in_the_digest(array: str, index: int) -> None:
    state = state_at(3)
    getattr(state.optimizer, array)[index] += 1
    assert state.digest() != state_at(3).digest()


def test_an_optimizer_array_of_another_size_is_in_the_digest_whole() -> None:
    digests = set()
    for value in (1, 2):
        state = state_at(3)
        assert isinstance(state.optimizer, Adam)
        state.optimizer.second = np.array([value, 1], np.float32)
        digests.add(state.digest())
    assert len(digests) == 2


def test_numpy_scalars_count_as_pythons() -> None:
    state = state_at(3)
    assert isinstance(state.optimizer, Adam)
    state.optimizer.beta_product = np.float64(state.optimizer.beta_product)
    state.optimizer.updates = np.int64(3)  # type: ignore[assignment]
    assert state.digest() == state_at(3).digest()
    assert type(state.snapshot().optimizer["updates"]) is int


def test_a_snapshot_copies_no_array() -> None:
    state = state_at(3)
    snapshot = state.snapshot()
    assert isinstance(state.optimizer, Adam)
    assert np.shares_memory(snapshot.parameters["transformer.wte.weight"], state.parameters)
    assert snapshot.optimizer["first"] is state.optimizer.first


def test_restoring_a_snapshot_gives_the_state_it_was_taken_of() -> None:
    state = new_state()
    flat = state.parameters
    state.restore(state_at(5).snapshot())
    assert state.digest() == state_at(5).digest()
    assert state.parameters is flat
    assert (state.step, state.batch_index, state.skipped) == (5, 7, [1, 3])
    spike = state.checks["spike"]
    assert isinstance(spike, Spike)
    assert (spike.window, spike.smallest) == ([1.0, 5 / 7], float("inf"))


def test_the_checks_must_be_those_of_the_run() -> None:
    state = new_state()
    state.checks = {"surge": Spike()}
    with pytest.raises(CheckpointError, match=r"checks \['spike'\]; expected that of \['surge'\]"):
        state.restore(state_at(5).snapshot())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transformer.wte.weight": None}, "transformer.wte.weight is missing"),
        ({"extra": np.zeros(3, np.float32)}, "extra is unknown to this model"),
        (
            {"transformer.wte.weight": np.zeros((7, 4), np.float32)},
            r"float32 \[7, 4\], in this model float32 \[5, 4\]",
        ),
        ({"transformer.ln_f.bias": np.zeros(4)}, r"float64 \[4\], in this model float32 \[4\]"),
        ({f"x{index}": np.zeros(3) for index in range(5)}, "x2 is unknown to this model and 2 more like these"),
    ],
)
def test_tensors_of_another_model_are_refused_with_what_differs(change: dict[str, Any], message: str) -> None:
    tensors = {**new_state().views(), **change}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        check_tensors(TABLE, tensors, "somewhere")


def test_refused_tensors_leave_the_parameters_as_they_were() -> None:
    state = state_at(3)
    tensors = state_at(4).views()
    del tensors["transformer.ln_f.bias"]
    with pytest.raises(CheckpointError, match="a file"):
        state.set_parameters(tensors, "a file")
    assert state.digest() == state_at(3).digest()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    snapshot = state_at(3).snapshot()
    snapshot.parameters["transformer.wte.weight"][2, 1] = value
    with pytest.raises(CheckpointError, match=r"step 3: parameter transformer.wte.weight is not finite at element 9"):
        refuse_non_finite(snapshot)


@pytest.mark.parametrize("name", ["second", "beta_product"])
def test_an_optimizer_that_is_not_finite_is_refused(name: str) -> None:
    snapshot = state_at(3).snapshot()
    bad = float("nan") if name == "beta_product" else np.full(N_ELEMENTS, np.inf, np.float32)
    with pytest.raises(CheckpointError, match=f"optimizer state {name} is not finite at element 0"):
        refuse_non_finite(replace(snapshot, optimizer={**snapshot.optimizer, name: bad}))


@pytest.mark.parametrize("position", [0, 1, 6, 7, 8, 13, 14, 19])
def test_the_scan_for_non_finite_values_misses_no_element(position: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "SCAN_ELEMENTS", 7)
    array = np.ones((4, 5), np.float32)
    assert first_non_finite(array) is None
    array.reshape(-1)[position:] = np.nan
    assert first_non_finite(array) == position
