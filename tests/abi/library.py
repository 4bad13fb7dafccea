"""parts.c, compiled once by whatever C compiler there is, and made into parts by the addresses of its functions."""

from __future__ import annotations

import atexit
import ctypes
import os
import shlex
import subprocess
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import numpy as np

import cllm
from cllm.abi import CompiledOp, FoldReducer, GatherReducer
from cllm.ops import OPS
from cllm.ops.kind import Array, Call, OpKind
from cllm.program import Program
from tests.kernels.compiling import COMPILER

SOURCE = Path(__file__).parent / "parts.c"


@cache
def library(compiler: str | None = None) -> ctypes.CDLL:
    """By this compiler, or by the one that is asked for in CC, with what CFLAGS adds for it, or is at hand."""
    folder = mkdtemp()
    atexit.register(rmtree, folder)  # no sooner: a sanitizer's report looks for the lines of its functions there
    made = Path(folder) / "parts.so"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]
    more = [] if compiler else shlex.split(os.environ.get("CFLAGS", ""))
    compiler = compiler or os.environ.get("CC") or COMPILER
    assert compiler is not None
    subprocess.run([compiler, *flags, *more, f"-I{cllm.get_include()}", SOURCE, "-o", made], check=True)
    return ctypes.CDLL(str(made))


def at(name: str, compiler: str | None = None) -> int:
    """The address of a function."""
    return ctypes.cast(getattr(library(compiler), name), ctypes.c_void_p).value or 0


def a_state(number: int) -> tuple[int, object]:
    """The address of an int64, and what keeps it."""
    kept = ctypes.c_int64(number)
    return ctypes.addressof(kept), kept


def a_fold(merge: str = "merge_sum", finish: str = "", state: int = 1) -> FoldReducer:
    place, kept = a_state(state)
    return FoldReducer(at(merge), at(finish) if finish else 0, state=place, describe=at("what"), keep=(kept, library()))


def a_gather(combine: str = "combine_sum", scratch: str = "") -> GatherReducer:
    return GatherReducer(at(combine), at(scratch) if scratch else 0, keep=library())


def build_square(p: Program, x: str, name: str) -> str:
    channels = p.width(x)
    gain = p.parameter(f"{name}.gain", (channels,), mean=1.0)
    return p.append(
        "square", name, outputs=(p.buffer(f"{name}.y", channels),), inputs=(x,), parameters=(gain,), channels=channels
    )


def forward_square(call: Call, x: Array, gain: Array) -> tuple[Array, ...]:
    return (x * x * gain,)


def backward_square(
    call: Call, gradients: tuple[Array, ...], outputs: tuple[Array, ...], x: Array, gain: Array
) -> tuple[Array | None, ...]:
    return 2.0 * x * gain * gradients[0], np.sum(x * x * gradients[0], axis=0)


def square(forward: str = "square_forward", backward: str = "square_backward") -> OpKind:
    compiled = CompiledOp(at(forward), at(backward), describe=at("what"), keep=library())
    return OpKind(
        "square", build_square, forward_square, backward_square, sizes=("channels",), reads=(1, 2), compiled=compiled
    )


def a_program(kind: OpKind, mode: str = "train") -> Program:
    """A model whose only depth is that op."""
    p = Program(mode, 6, 23, {**OPS, "square": kind})  # type: ignore[arg-type]
    x = p.embedding("tokens", "wte", 20)
    x = p.square(x, "sq")
    (p.logits if mode == "decode" else p.cross_entropy)(x, "head", "wte.weight", 0.0)
    return p
