"""The stepping executor: the fused executor's bits, and CLLM_DEBUG=3, which stops at the first wrong op."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cllm.engine import Engine
from cllm.errors import KernelError
from cllm.ops import OPS
from cllm.stepping import Stepper, compare
from tests.models import CONFIGS, Tree, a_batch, a_model, digest


@pytest.mark.parametrize("name", CONFIGS)
def test_same_bits_as_the_fused_executor(name: str) -> None:
    program, parameters = a_model(name)
    batch = a_batch(program, 3)
    stepper = Stepper(program, 3, 3, seed=7)
    for _ in stepper.walk(parameters, batch):
        pass
    fused = Engine(program, 3, 1, micro_batch_size=3, seed=7).gradient(parameters, batch, Tree())
    scaled = stepper.gradient * np.float32(1.0 / fused.weight_sum)
    assert digest(scaled) == digest(fused.gradient)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_op_agrees_with_its_definition(name: str) -> None:
    program, parameters = a_model(name)
    assert compare(Stepper(program, 5, seed=7), parameters, a_batch(program, 5)) > 4 * 2 * len(program.ops)


def test_the_first_wrong_op_is_named() -> None:
    program, parameters = a_model("plain")
    index = next(i for i, op in enumerate(program.ops) if op.name == "transformer.h.1.mlp.act")
    wrong = replace(OPS["gelu_tanh"], forward=lambda call, x: (x * 0.5, x))
    stepper = Stepper(program, 5)
    program.ops[index] = replace(program.ops[index], kind=wrong)
    with pytest.raises(KernelError, match=r"transformer\.h\.1\.mlp\.act, forward, shard 0"):
        compare(stepper, parameters, a_batch(program, 5))
