"""What comes in by the kernel ABI and is wrong: who, what came, what was expected, what to do."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from cllm import kernels
from cllm._kernels import foreign
from cllm.abi import CompiledOp, FoldReducer, Scan
from cllm.errors import PluginError, ProgramError
from cllm.hooks.making import check_shape
from cllm.lowering import lower
from cllm.opened import OpenedOp, open_check, open_reducer
from cllm.ops.kind import OpKind
from tests.abi.library import a_program, build_square

NEW = ctypes.pythonapi.PyCapsule_New
NEW.restype, NEW.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
NAMES: list[bytes] = []  # capsules do not copy theirs


class Head(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_uint32), ("abi_major", ctypes.c_uint16), ("abi_minor", ctypes.c_uint16),
        ("flags", ctypes.c_uint64), ("functions", ctypes.c_void_p * 64),
    )


def a_capsule(name: str = "cllm.reducer", **fields: int) -> object:
    """A struct that is right but for these fields, with a merge that nobody calls."""
    head = Head(foreign.SIZES["reducer"], foreign.MAJOR, foreign.MINOR, 0)
    head.functions[2] = 1
    for field, value in fields.items():
        setattr(head, field, value)
    NAMES.append(name.encode())
    capsule = NEW(ctypes.addressof(head), NAMES[-1], None)
    return SimpleNamespace(kind="fold", __cllm_reducer__=lambda: (capsule, head)[0], head=head)


def refused(part: object) -> PluginError:
    with pytest.raises(PluginError) as caught:
        check_shape("reducer", part, "reducer x (dist-x)")
    assert caught.value.who == "reducer x (dist-x)"
    return caught.value


def test_the_struct_that_the_tests_bend_is_right() -> None:
    assert open_reducer(a_capsule(), "x") is not None


def test_a_struct_of_a_later_minor_version_is_right_too() -> None:
    """Of its fields those are read that are known here."""
    later = a_capsule(abi_minor=7, struct_size=foreign.SIZES["reducer"] + 64)
    later.head.functions[8] = 1
    opened = open_reducer(later, "x")
    assert opened is not None and opened.kind == "fold"


@pytest.mark.parametrize(
    ("part", "came", "todo"),
    [
        (SimpleNamespace(kind="fold", __cllm_reducer__=lambda: 7), "returned int without a name", "kernel_abi.h"),
        (a_capsule("cllm.check"), "a capsule named 'cllm.check'", "kernel_abi.h"),
        (a_capsule("numpy.thing"), "a capsule named 'numpy.thing'", "kernel_abi.h"),
        (a_capsule(abi_major=2), "kernel ABI 2.0", "go together"),
        (a_capsule(abi_major=0), "kernel ABI 0.0", "go together"),
        (a_capsule(struct_size=8), "struct_size 8", "sizeof(cllm_reducer)"),
        (a_capsule(struct_size=0), "struct_size 0", "sizeof(cllm_reducer)"),
        (a_capsule(flags=1), "flags 0x1", "newer cllm"),
    ],
    ids=["no capsule", "another kind", "a stranger's", "of the future", "of no version", "too small", "empty", "flags"],
)
def test_a_capsule_that_is_wrong(part: object, came: str, todo: str) -> None:
    error = refused(part)
    assert came in error.came and todo in error.todo


def test_a_reducer_is_one_of_the_two() -> None:
    neither = SimpleNamespace(kind="fold", __cllm_reducer__=lambda: foreign.reducer_capsule(0, 0, 0, 0, 0, 0))
    both = SimpleNamespace(kind="fold", __cllm_reducer__=lambda: foreign.reducer_capsule(1, 0, 1, 0, 0, 0))
    assert "neither merge nor combine" in refused(neither).came
    assert "both merge and combine" in refused(both).came


def test_a_kind_that_the_struct_does_not_have() -> None:
    part = FoldReducer(1)
    part.kind = "gather"  # type: ignore[assignment]
    assert "kind = 'gather' and a struct that makes it a fold" in refused(part).came


def test_a_capsule_that_cannot_be_had() -> None:
    def fails() -> object:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check_shape("reducer", SimpleNamespace(kind="fold", __cllm_reducer__=fails), "it")


@pytest.mark.parametrize("sizes", [(-1, 1), (1, -1), (1 << 40, 1)])
def test_a_check_without_a_function_or_with_impossible_sizes(sizes: tuple[int, int]) -> None:
    with pytest.raises(PluginError, match="scan or finish is NULL"):
        open_check(Scan(0, 1, 1, 1), "x")
    with pytest.raises(PluginError, match="n_partial and n_found"):
        open_check(Scan(1, 1, *sizes), "x")


def test_a_check_that_nobody_asks() -> None:
    class Mute:
        def __cllm_check__(self) -> object:
            return kernels.finite_check()

        def after_update(self, view: object) -> None: ...

    with pytest.raises(PluginError, match="without after_scan"):
        check_shape("check", Mute(), "it")
    with pytest.raises(PluginError, match="without any of its methods"):
        check_shape("check", SimpleNamespace(), "it")


def test_an_op_without_a_function() -> None:
    with pytest.raises(PluginError, match="forward is NULL"):
        OpenedOp(CompiledOp(0, 1), "x")
    one_way = OpKind(
        "square", build_square, lambda call, x, g: (x,), lambda *a: (None, None), sizes=("channels",),
        compiled=CompiledOp(1, 0),
    )
    with pytest.raises(ProgramError, match="no backward of square"):
        lower(a_program(one_way), 6, 6)
    lower(a_program(one_way, "decode"), 6, 6)
