"""What the kernels walk through begins with a cache line, whatever NumPy gives."""

from __future__ import annotations

import numpy as np
import pytest

from cllm import aligned
from cllm.builtin.optimizers import AdamW, AdamWConfig
from cllm.engine import Engine
from cllm.initialise import initial_parameters
from tests.models import Tree, a_batch, a_model


@pytest.mark.parametrize("n", [1, 15, 16, 17, 100_003])
def test_an_array_begins_with_a_line(n: int) -> None:
    empty, zeros = aligned.empty(n), aligned.zeros(n)
    for array in (empty, zeros):
        assert array.shape == (n,) and array.dtype == np.float32 and array.flags.c_contiguous and array.flags.writeable
        assert array.ctypes.data % aligned.LINE == 0
    assert not zeros.any()


def test_parameters_gradient_and_moments_begin_with_a_line() -> None:
    program, _ = a_model("plain")
    parameters = initial_parameters(program, 1)
    gradient = Engine(program, 4, 1).gradient(parameters, a_batch(program, 4), Tree()).gradient
    optimizer = AdamW(AdamWConfig())
    optimizer.init(program.parameters)
    moments = optimizer.state_dict()
    for array in (parameters, gradient, moments["first_moment"], moments["second_moment"]):
        assert array.ctypes.data % aligned.LINE == 0


def test_poison_is_a_nan_in_every_element_that_no_sum_survives() -> None:
    array = aligned.empty(100)
    aligned.poison(array)
    assert np.isnan(array).all() and (array.view(np.uint32) == aligned.SIGNALLING_NAN).all()
    assert not aligned.SIGNALLING_NAN & 1 << 22  # the bit that makes a NaN a quiet one
