"""Op by op with a look at everything: the engine's bits, and the first value that is not finite, where it arose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cllm.engine import Engine
from cllm.ops.fault import insert
from cllm.outcomes import Interrupted
from cllm.probing import First, Range, Walk, walk
from cllm.program import Program
from cllm.stepping import Stepper
from tests.models import CONFIGS, FoldInPython, Gather, Tree, a_batch, a_model, digest


def walked(program: Program, parameters: np.ndarray, batch: Any, batch_size: int, reducer: Any = None) -> Walk:
    stepper = Stepper(program, batch_size, 1 if batch_size < 4 else None, seed=7)
    return walk(stepper, parameters, batch, reducer or Tree(), lambda: False)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_bits_are_the_engines(name: str, batch_size: int) -> None:
    program, parameters = a_model(name)
    batch, micro = a_batch(program, batch_size), 1 if batch_size < 4 else None
    found = walked(program, parameters, batch, batch_size)
    engine = Engine(program, batch_size, 2, micro_batch_size=micro, seed=7).gradient(parameters, batch, Tree())
    assert found.gradient is not None and digest(found.gradient) == digest(engine.gradient)
    assert (found.loss, found.shard_losses) == (engine.loss, engine.shard_losses)
    assert found.first is None
    with_python = walked(program, parameters, batch, batch_size, FoldInPython()).gradient
    assert with_python is not None and digest(with_python) == digest(engine.gradient)


def test_a_reducer_that_wants_all_shards_gets_no_gradient() -> None:
    program, parameters = a_model("plain")
    assert walked(program, parameters, a_batch(program, 5), 5, Gather()).gradient is None


@pytest.mark.parametrize("in_backward", [False, True])
def test_a_fault_is_found_in_its_shard_op_direction_and_element(in_backward: bool) -> None:
    program, parameters = a_model("dropout")
    insert(program, 3, 7, in_backward)
    first = found_first(program, parameters, 7)
    # Sequence 7 // 2 of shards of 1, 2, 2 and 2, so the first of the second or third; in the middle of its 16 tokens.
    sequence, rows = 3, 16
    stepper = Stepper(program, 7, seed=7)
    shard = int(np.searchsorted(stepper.boundaries, sequence, side="right")) - 1
    row = (sequence - int(stepper.boundaries[shard])) * rows + rows // 2
    tensor = "transformer.ln_f.y" if in_backward else "fault.y"
    assert (first.shard, program.ops[first.op].name, first.backward) == (shard, "fault", in_backward)
    assert (first.tensor, first.is_parameter, first.index, first.row) == (tensor, False, (row, 0), row)
    roles = {operand.role: operand for operand in first.operands}
    assert roles["input"].range.n_nonfinite == 0 and len(roles["input"].values) == 8
    assert ("gradient of the output" in roles) == in_backward
    assert found_first(program, parameters, 7, index=4) is None


def found_first(program: Program, parameters: np.ndarray, batch_size: int, index: int = 3) -> Any:
    return walked(program, parameters, a_batch(program, batch_size, index), batch_size).first


def test_a_broken_row_of_the_embedding_is_found_at_the_first_token_that_reads_it() -> None:
    program, parameters = a_model("plain")
    batch = a_batch(program, 5)
    token = int(batch.inputs[3, 9])
    dict(program.views(parameters))["transformer.wte.weight"][token, 4] = np.inf
    stepper = Stepper(program, 5, seed=7)
    first = walk(stepper, parameters, batch, Tree(), lambda: False).first
    assert first is not None and (program.ops[first.op].name, first.backward) == ("transformer.wte", False)
    place = int(np.flatnonzero(batch.inputs.reshape(-1) == token)[0])
    assert (int(stepper.boundaries[first.shard]) * 16 + first.row, first.index) == (place, (first.row, 4))
    (table,) = first.operands
    assert (table.role, table.range.n_nonfinite, first.value) == ("parameter", 1, float("inf"))


def test_of_a_parameters_gradient_the_token_is_told_that_counts_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of one weight is made infinite behind an op's back, between its backward and the look at it."""
    program, parameters = a_model("plain")
    name = "transformer.h.1.mlp.c_fc.weight"
    op = next(i for i, one in enumerate(program.ops) if name in one.parameters)
    written, heaviest = Stepper._written, []

    def tampered(self: Stepper, shard: int, index: int, backward: bool) -> dict[str, Any]:
        arrays = written(self, shard, index, backward)
        if (shard, index, backward) == (2, op, True):
            arrays[name][3, 5] = np.inf
            incoming = self.gradient_of(program.ops[op].outputs[0], shard)
            assert incoming is not None
            heaviest.append(int(np.argmax(np.abs(incoming).max(axis=1))))
        return arrays

    monkeypatch.setattr(Stepper, "_written", tampered)
    first = found_first(program, parameters, 7)
    assert first == First(2, op, True, name, True, (3, 5), float("inf"), heaviest[0], first.operands)
    assert {operand.role for operand in first.operands} == {"input", "gradient of the output", "parameter"}


def test_a_range_leaves_out_what_is_not_finite() -> None:
    assert Range.of(np.array([[1, -3], [np.nan, np.inf]], dtype=np.float32)) == Range(-3.0, 1.0, 3.0, 2, 4)
    assert Range.of(np.full(3, np.nan, dtype=np.float32)) == Range(0.0, 0.0, 0.0, 3, 3)


def test_every_op_of_every_shard_is_looked_at_in_order() -> None:
    program, parameters = a_model("plain")
    found = walked(program, parameters, a_batch(program, 7), 7)
    assert len(found.written) == 4
    for written in found.written:
        places = [2 * len(program.ops) - 1 - one.op if one.backward else one.op for one in written]
        assert places == sorted(places)
        forward = {one.tensor for one in written if not one.backward}
        assert forward == set(program.buffers) - {"losses"}  # what is saved for the backward too
        assert {p.name for p in program.parameters} <= {one.tensor for one in written if one.backward}
        assert all(one.range.magnitude > 0.0 for one in written)


def test_a_stop_is_met_between_two_ops() -> None:
    program, parameters = a_model("plain")
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        walk(Stepper(program, 5), parameters, a_batch(program, 5), Tree(), lambda: next(asked))
