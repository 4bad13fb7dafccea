"""Every alternative of the lint's tables fires by itself: each flag, pragma, function, method and thread id."""

from __future__ import annotations

import pytest

from tools.lint import lint
from tools.lint_compiled import FOREIGN_MODULES, LIBM, LIBM_MODULES
from tools.lint_compiled import THREAD_IDS as C_THREAD_IDS
from tools.lint_flags import FLAGS, PRAGMAS, REQUIRED, TARGETS
from tools.lint_python import METHODS, MODULES, NUMPY_ARITHMETIC, OPERATORS, THREADS, UFUNC_METHODS
from tools.lint_unsafe import CALLS, LOADERS, RUNS_CODE, UNPACKS

APPROXIMATIONS = (
    "_mm_rcp_ss", "_mm256_rcp_ps", "_mm512_rcp14_ps", "_mm512_mask_rcp28_ps", "_mm_rsqrt_ps", "_mm512_maskz_rsqrt14_pd",
    "__builtin_ia32_rcpps", "__builtin_ia32_rsqrtps", "__builtin_ia32_rsqrt14ps512_mask",
    "vrecpe_f32", "vrecpeq_f32", "vrecpsq_f32", "vrecpxs_f32", "vrsqrteq_f32", "vrsqrtsq_f32",
    "__builtin_aarch64_rsqrtev4sf", "__builtin_neon_vrecpe_v",
)
BLAS = ("cblas_sgemm", "LAPACKE_spotrf", "mkl_malloc", "bli_sgemm", "sgemm_", "dgemv_", "sdot_", "saxpy_", "dnrm2_")


def found(suffix: str, text: str) -> list[str]:
    return [finding.what for finding in lint("src/cllm/some" + suffix, text)]


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("suffix", [".build", ".toml", ".ini", ".c", ".h", ".pyx"])
def test_flags(suffix: str, flag: str) -> None:
    text = f"__attribute__((target({flag}))) int f;" if suffix in (".c", ".h") else f"    CFLAGS = {flag}"
    assert found(suffix, text) == [flag]


@pytest.mark.parametrize("flag", REQUIRED)
def test_required_flags(flag: str) -> None:
    others = [f"'{other}'" for other in REQUIRED if other != flag]
    text = f"numeric_flags = [{', '.join(others)}]\nstatic_library('tile', c_args: numeric_flags)"
    assert found(".build", text) == [flag]


@pytest.mark.parametrize("kind", TARGETS)
def test_everything_built_takes_the_flags(kind: str) -> None:
    flags = ", ".join(f"'{flag}'" for flag in REQUIRED)
    assert found(".build", f"numeric_flags = [{flags}]\n{kind}('x', 'x.c', c_args: flags)") == [kind]


@pytest.mark.parametrize("words", PRAGMAS)
@pytest.mark.parametrize("form", ["#pragma {}(x)", "#  pragma   {} (x)", '_Pragma("{} (x)")'])
def test_pragmas(form: str, words: str) -> None:
    assert len(found(".h", form.format(words))) == 1
    assert len(found(".h", form.format(words.replace(" ", "  ")))) == 1
    assert len(found(".pyx", f'cdef extern from *:\n    """\n    {form.format(words)}\n    """')) == 1


@pytest.mark.parametrize("name", APPROXIMATIONS)
def test_approximations(name: str) -> None:
    assert found(".h", f"x = {name}(y);") == [name]
    assert found(".pxd", f'cdef extern from "x.h":\n    float f "{name}"(float)') == [name]


@pytest.mark.parametrize("name", BLAS)
def test_blas(name: str) -> None:
    assert found(".c", f"{name}(x);") == [name]
    assert found(".pyx", f"{name}(x)") == [name]


@pytest.mark.parametrize("name", C_THREAD_IDS)
def test_thread_ids(name: str) -> None:
    assert found(".c", f"int t = {name}();") == [name]
    assert found(".pyx", f"t = {name}()") == [name]
    assert found(".pyx", f'cdef extern from "x.h":\n    int t "{name}"()') == [name]


@pytest.mark.parametrize("name", LIBM)
@pytest.mark.parametrize("end", ["", "f", "l"])
def test_libm(name: str, end: str) -> None:
    assert found(".c", f"y = {name}{end}(x);") == [name + end]
    assert found(".h", f"y = __builtin_{name}{end}(x);") == [f"__builtin_{name}{end}"]
    assert found(".pyx", f'cdef extern from "math.h":\n    float own "{name}{end}"(float)') == [name + end]
    assert found(".pyx", f"from libc.math cimport {name}{end} as own") == [f"libc.math.{name}{end}"]


@pytest.mark.parametrize("module", LIBM_MODULES)
def test_modules_of_libm(module: str) -> None:
    package, _, name = module.rpartition(".")
    assert found(".pyx", f"from {module} cimport exp") == [f"{module}.exp"]
    assert found(".pyx", f"from {module} cimport *") == [f"{module}.*"]
    assert found(".pyx", f"from {package} cimport {name} as own") == [module]
    assert found(".pyx", f"cimport {module} as own") == [f"{module}.*"]


@pytest.mark.parametrize("module", FOREIGN_MODULES)
def test_modules_of_other_libraries(module: str) -> None:
    assert found(".pyx", f"cimport {module}") and found(".pyx", f"from {module} cimport f")


@pytest.mark.parametrize("name", sorted(NUMPY_ARITHMETIC))
def test_numpy(name: str) -> None:
    assert found(".py", f"y = np.{name}") == [name]
    assert found(".py", f"import numpy as n\ny = n.{name}") == [name]
    assert found(".py", f"from numpy import {name} as own") == [name]
    assert found(".py", f"import numpy.{name}") == [f"import numpy.{name}"]


@pytest.mark.parametrize("name", sorted(UFUNC_METHODS))
def test_methods_of_ufuncs(name: str) -> None:
    assert found(".py", f"y = np.add.{name}(x)") == [f"add.{name}"]
    assert found(".py", f"from numpy import add\ny = add.{name}(x)") == [f"add.{name}"]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_of_arrays(name: str) -> None:
    assert found(".py", f"y = x.{name}()") == [f".{name}()"]
    assert found(".py", f"y = f(x).{name}(axis=0)") == [f".{name}()"]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules(name: str) -> None:
    assert found(".py", f"import {name}.part as own") == [f"import {name}.part"]
    assert found(".py", f"from {name} import part") == [f"from {name} import"]


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operators(name: str) -> None:
    assert found(".py", f"import operator as o\ny = o.{name}(a, b)") == [f"operator.{name}"]
    assert found(".py", f"from operator import {name}") == [f"operator.{name}"]


@pytest.mark.parametrize("name", sorted(THREADS))
def test_threads(name: str) -> None:
    assert found(".py", f"import threading\nt = threading.{name}()") == [name]
    assert found(".py", f"from threading import {name}") == [name]


@pytest.mark.parametrize("module", sorted(RUNS_CODE | UNPACKS))
def test_modules_that_run_what_they_read_or_unpack_it(module: str) -> None:
    assert found(".py", f"import {module} as x") == found(".py", f"from {module} import x") == [f"import {module}"]


@pytest.mark.parametrize("loader", sorted(LOADERS))
def test_loaders_that_run_what_they_read_or_unpack_it(loader: str) -> None:
    assert loader in found(".py", f"x = {loader}(path)")


@pytest.mark.parametrize("name", sorted(CALLS))
def test_builtins_that_run_text(name: str) -> None:
    assert found(".py", f"x = {name}(text)") == [f"{name}()"]
