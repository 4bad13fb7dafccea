"""Loss and gradients of a whole GPT-2 against what PyTorch's autograd found in float64, kept in a file."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from cllm.builtin.reducers import TreeReducer
from cllm.engine import Engine
from cllm.program import Program
from cllm.reference import Reference
from tests.parity.cases import BATCH_SIZE, CASES, FIXTURES, Arrays, batch, parameters, part, program


@pytest.fixture(scope="module")
def fixtures() -> Arrays:
    return load_file(FIXTURES)


def error(found: np.ndarray, truth: np.ndarray) -> float:
    """Norm of the difference over the norm."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


@pytest.mark.parametrize("micro_batch_size", [None, 1, BATCH_SIZE])
@pytest.mark.parametrize("name", CASES)
def test_engine(fixtures: Arrays, name: str, micro_batch_size: int | None) -> None:
    case = part(fixtures, name)
    model = program(name)
    engine = Engine(model, BATCH_SIZE, 2, micro_batch_size=micro_batch_size)
    a_batch = SimpleNamespace(index=0, positions=None, **given(case))
    result = engine.gradient(flat(model, part(case, "parameter")), a_batch, TreeReducer())
    assert result.loss == pytest.approx(float(case["loss"]), rel=1e-6)
    truth, found = part(case, "gradient"), dict(model.views(result.gradient))
    assert truth.keys() == found.keys()
    for parameter in truth:
        assert error(found[parameter], truth[parameter]) <= 1e-5, parameter


@pytest.mark.parametrize("name", CASES)
def test_evaluation(fixtures: Arrays, name: str) -> None:
    case = part(fixtures, name)
    model = program(name, "evaluate", dropout=0.3)  # which an evaluation leaves out
    engine = Engine(model, BATCH_SIZE, 2)
    a_batch = SimpleNamespace(index=0, positions=None, **given(case))
    loss, weight = engine.losses(flat(model, part(case, "parameter")), [a_batch])
    assert loss / weight == pytest.approx(float(case["loss"]), rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_reference(fixtures: Arrays, name: str) -> None:
    """The reference has float64's precision: formulas are the same, down to constants."""
    case = part(fixtures, name)
    exact = {n: tensor.astype(np.float64) for n, tensor in part(case, "parameter").items()}
    inputs, targets, weights = given(case).values()
    reference = Reference(program(name), exact, inputs, targets, weights)
    total = weights[targets >= 0].sum(dtype=np.float64)
    assert reference.run() / total == pytest.approx(float(case["loss"]), rel=1e-12)
    for parameter, truth in part(case, "gradient").items():
        assert error(reference.gradients[parameter] / total, truth) <= 1e-11, parameter


@pytest.mark.parametrize("name", CASES)
def test_the_file_was_made_from_these_cases(fixtures: Arrays, name: str) -> None:
    case = part(fixtures, name)
    for stored, made in ((part(case, "parameter"), parameters(name)), (given(case), batch(name))):
        assert stored.keys() == made.keys()
        for key in made:
            np.testing.assert_array_equal(stored[key], made[key])


def test_the_file_has_no_case_more() -> None:
    assert {key.split("/")[0] for key in load_file(FIXTURES)} == set(CASES)
    assert FIXTURES.stat().st_size < 1_000_000


def flat(model: Program, tensors: Arrays) -> np.ndarray:
    """(P,) float32 of the named tensors."""
    array = np.full(model.n_parameters, np.nan, dtype=np.float32)
    for name, view in model.views(array):
        view[...] = tensors[name]
    return array


def given(case: Arrays) -> Arrays:
    return {name: case[name] for name in ("inputs", "targets", "weights")}
