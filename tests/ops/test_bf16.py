"""Ops whose products are in bfloat16: what they mean, and that the processor's instruction and float32 agree on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from cllm import kernels
from cllm.ops.bf16 import rounded
from cllm.testing import Case, draw, run_kernel, run_reference
from tests.float32 import bf16
from tests.ops.cases import CASES
from tests.ops.chains import CHAINS

BF16 = [case for case in CASES if case.program().ops[0].kind.name.endswith("_bf16")]
both = pytest.mark.parametrize("case", BF16, ids=lambda case: case.name)


@pytest.fixture
def emulated() -> Iterator[None]:
    kernels.use_native_bf16(False)
    yield
    kernels.use_native_bf16(True)


PLAIN = {case.name: case for case in CASES}
IN_BOTH = [case for case in BF16 if case.name.replace("_bf16", "") in PLAIN]


@pytest.mark.parametrize("case", IN_BOTH, ids=lambda case: case.name)
def test_of_what_is_representable_it_is_the_op_in_float32(case: Case) -> None:
    """Rounding is all that is added; inside, probabilities and gradients of scores and logits are rounded too."""
    values = {n: v if v.dtype != np.float32 else bf16(v) for n, v in draw(case).items()}
    plain, found = run_reference(PLAIN[case.name.replace("_bf16", "")], values), run_reference(case, values)
    for name, array in plain.items():
        bound = 1e-12 if case.name.startswith("linear") else 2.0**-7
        assert np.linalg.norm(found[name] - array) <= bound * np.linalg.norm(array), name


def test_rounding_is_to_nearest_with_ties_to_even_and_without_subnormals() -> None:
    cases = {
        1.0: 1.0, 1.00390625: 1.0, 1.01171875: 1.015625, 1.0039064: 1.0078125, -1.0039064: -1.0078125,
        1e-39: 0.0, -1e-39: -0.0, 2.0**-126: 2.0**-126, 3.4e38: np.inf, np.inf: np.inf, -np.inf: -np.inf,
    }
    given = np.array(list(cases), dtype=np.float32)
    for found in (rounded(given), bf16(given)):
        np.testing.assert_array_equal(found, np.array(list(cases.values())))
        assert np.signbit(found).tolist() == np.signbit(list(cases.values())).tolist()
    assert np.isnan(rounded(np.array([np.nan]))).all()


@both
def test_the_instruction_and_its_emulation_give_the_same_bits(case: Case, emulated: None) -> None:
    values, start = draw(case), {"d/x0": draw(case, 2)["x0"]}
    alone = run_kernel(case, values, start=start)
    if not kernels.use_native_bf16(True):
        pytest.skip("this processor has no instruction for bfloat16")
    for name, array in run_kernel(case, values, start=start).items():
        assert array.tobytes() == alone[name].tobytes(), name


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("scale", [1e-20, 3e-20, 1e-38, 1e-39])
def test_subnormals_are_zeros(scale: float, native: bool, emulated: None) -> None:
    """Inputs, sums that are added to, and results, some of which round to the smallest normal number."""
    kernels.use_native_bf16(native)
    case = next(case for case in BF16 if case.name == "linear_bf16_no_bias")
    values = {n: v * np.float32(scale) if v.dtype == np.float32 else v for n, v in draw(case).items()}
    start = {n: draw(case, 2)[n[2:]] * np.float32(1e-38) for n in ("d/x0", "d/w.weight")}
    found = run_kernel(case, values, start=start)
    for name, array in CHAINS["linear_bf16"](case.program().ops[0], values, start).items():
        assert array.tobytes() == found[name].tobytes(), name
