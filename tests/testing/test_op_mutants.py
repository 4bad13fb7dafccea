"""Compiled ops that are wrong in one way each: the source of tests/abi/parts.c, changed in one place."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cllm
from cllm.abi import CompiledOp
from cllm.ops import Call, OpKind
from cllm.testing import Case, check_op
from tests.abi.library import SOURCE, backward_square, build_square, forward_square
from tests.kernels.compiling import COMPILER, needs_a_compiler

pytestmark = needs_a_compiler

MUTANTS = {
    "another number": (
        "x[row * c + j] * g[j];\n", "x[row * c + j] * g[j] * 1.001f;\n", "sq.y of the kernel lies",
    ),
    "a NaN becomes 0": (
        "y[row * c + j] = x[row * c + j] * x[row * c + j] * g[j];",
        "y[row * c + j] = x[row * c + j] > 0 || x[row * c + j] < 0 ? x[row * c + j] * x[row * c + j] * g[j] : 0;",
        "a NaN in element 0 of x0 is lost in the forward",
    ),
    "a gradient is never added to": (
        "dx[i] = cllm_adds(call, X) ? dx[i] + d : d;", "dx[i] = d;",
        "d/x0 of the kernel lies",
    ),
    "a gradient is always added to": (
        "dx[i] = cllm_adds(call, X) ? dx[i] + d : d;", "dx[i] += d;", "d/x0 of the kernel lies nan",
    ),
    "a part does all": (
        "for (int64_t j = cllm_part_begin(c, 1, call->part, call->n_parts);", "for (int64_t j = 0;",
        "other bits in 2 parts",
    ),
    "a part leaves out its last": (
        "row < call->first + cllm_part_begin(rows, 1, call->part + 1, call->n_parts); row++)",
        "row < call->first + cllm_part_begin(rows, 1, call->part + 1, call->n_parts) - (call->part > 0); row++)",
        "sq.y has other bits in 2 parts",
    ),
    "its input is written to": (
        "    float *y = call->value[Y];\n",
        "    float *y = call->value[Y];\n    ((float *)call->value[X])[0] = 1.0f;\n", "it writes to x0, which is IN",
    ),
    "first is not looked at": (
        "row = call->first + cllm_part_begin(rows, 1, call->part, call->n_parts);",
        "row = cllm_part_begin(rows, 1, call->part, call->n_parts);", "rows before it are written to",
    ),
    "it never comes to an end": (
        "    if (call->phase == 0) {\n", "    if (1) {\n", "backward: its parts returned [3], with",
    ),
    "it refuses": (
        "    float *y = call->value[Y];\n", "    float *y = call->value[Y];\n    if (call->part == 1) return 7;\n",
        "forward: its parts returned [0, 4]",
    ),
}
CASE = Case("square", (19,), lambda p, x: p.square(x, "sq"))


def compiled(folder: Path, source: str) -> OpKind:
    (folder / "parts.c").write_text(source)
    library = folder / "parts.so"
    flags = ["-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{cllm.get_include()}"]
    subprocess.run([str(COMPILER), *flags, folder / "parts.c", "-o", library], check=True)
    loaded = ctypes.CDLL(str(library))
    forward, backward = (
        ctypes.cast(getattr(loaded, f"square_{way}"), ctypes.c_void_p).value or 0 for way in ("forward", "backward")
    )
    return OpKind(
        "square", build_square, forward_square, backward_square, sizes=("channels",), reads=(1, 2),
        compiled=CompiledOp(forward, backward, keep=loaded),
    )


@pytest.mark.parametrize(("old", "new", "message"), MUTANTS.values(), ids=MUTANTS)
def test_each_is_found(old: str, new: str, message: str, tmp_path: Path) -> None:
    source = SOURCE.read_text()
    assert old in source
    kind = compiled(tmp_path, source.replace(old, new, 1))
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_op(replace(CASE, kinds={"square": kind}))


def test_the_one_that_they_change_is_sound(tmp_path: Path) -> None:
    check_op(replace(CASE, kinds={"square": compiled(tmp_path, SOURCE.read_text())}))


def test_a_reference_whose_backward_is_no_slope(tmp_path: Path) -> None:
    kind = compiled(tmp_path, SOURCE.read_text())

    def backward(call: Call, gradients: tuple[np.ndarray, ...], outputs: object, x: np.ndarray, gain: np.ndarray) -> (
        tuple[np.ndarray, ...]
    ):
        return x * gain * gradients[0], np.sum(x * x * gradients[0], axis=0)

    with pytest.raises(AssertionError, match="d/x0 of the reference gives a slope of"):
        check_op(replace(CASE, kinds={"square": replace(kind, backward=backward)}))


def test_a_struct_without_a_function() -> None:
    kind = OpKind(
        "square", build_square, forward_square, backward_square, sizes=("channels",), compiled=CompiledOp(0)
    )
    with pytest.raises(AssertionError, match="forward is NULL"):
        check_op(replace(CASE, kinds={"square": kind}))
