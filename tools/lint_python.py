"""Rules for Python on the numeric path: no libm, no NumPy arithmetic, no sums whose order nobody wrote down.

They see names, not types: NumPy must be called `np` or `numpy`, and a sum of integers looks like a sum of floats
(write `len`, `count_nonzero` or a loop, or exempt the file in tools/lint.py).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.lint_finding import Finding

RULE = "numerics rule 5: its bits differ between machines, shapes or versions; use cllm.kernels or a written-out loop"
THREAD = "what a thread computes must not depend on which thread it is"

# IEEE demands the exact or correctly rounded result of these, or they work on integers.
EXACT_MATH = {
    "sqrt", "isfinite", "isnan", "isinf", "isqrt", "floor", "ceil", "trunc", "fabs", "copysign", "ldexp", "frexp",
    "nextafter", "ulp", "gcd", "lcm", "comb", "factorial", "prod", "inf", "nan", "pi", "e", "tau",
}
NUMPY_ARITHMETIC = {
    "sum", "nansum", "mean", "nanmean", "average", "median", "nanmedian", "var", "nanvar", "std", "nanstd",
    "prod", "nanprod", "cumsum", "cumprod", "nancumsum", "nancumprod", "trapezoid", "trapz",
    "dot", "vdot", "inner", "matmul", "tensordot", "einsum", "einsum_path", "linalg", "fft", "convolve", "correlate",
    "cov", "corrcoef", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "logaddexp2",
    "power", "float_power", "pow", "cbrt", "hypot", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2",
    "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "sinc", "i0", "deg2rad", "rad2deg",
    "interp", "polyfit", "polyval", "polynomial", "gradient", "percentile", "quantile", "nanpercentile",
    "nanquantile", "random", "histogram", "geomspace", "logspace", "linspace",
}
METHODS = {"sum", "mean", "std", "var", "prod", "cumsum", "cumprod", "dot", "matmul", "trace"}
MODULES = {"cmath", "random", "statistics", "scipy", "torch", "numba", "numexpr"}
THREADS = {"get_ident", "get_native_id", "current_thread"}


def lint_python(path: str, text: str) -> list[Finding]:
    """The findings of one file."""
    found = [
        Finding(path, getattr(node, "lineno", 0), what, THREAD if what in THREADS else RULE, is_arithmetic=True)
        for node in ast.walk(ast.parse(text))
        for what in _wrong(node)
    ]
    return sorted(found, key=lambda finding: finding.line)


def _wrong(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import {alias.name}" for alias in node.names if alias.name.split(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom):
        yield from _imported(node)
    elif isinstance(node, ast.Attribute):
        yield from _attribute(node)
    elif isinstance(node, ast.Call):
        yield from _call(node)
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        yield from _operator(node)


def _imported(node: ast.ImportFrom) -> Iterator[str]:
    module, names = node.module or "", [alias.name for alias in node.names]
    if module.split(".")[0] in MODULES and not node.level:
        yield f"from {module} import"
    elif module == "math":
        yield from (f"math.{name}" for name in names if name not in EXACT_MATH)
    elif module.split(".")[0] == "numpy":
        yield from (name for name in [*module.split(".")[1:], *names] if name in NUMPY_ARITHMETIC)
    elif module == "threading":
        yield from (name for name in names if name in THREADS)


def _attribute(node: ast.Attribute) -> Iterator[str]:
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if owner == "math" and node.attr not in EXACT_MATH:
        yield f"math.{node.attr}"
    elif node.attr in (NUMPY_ARITHMETIC | THREADS if owner in ("np", "numpy") else THREADS):
        yield node.attr
    elif node.attr in ("reduce", "accumulate") and isinstance(node.value, ast.Attribute):
        yield f"{node.value.attr}.{node.attr}"  # np.add.reduce


def _call(node: ast.Call) -> Iterator[str]:
    called = node.func
    if isinstance(called, ast.Attribute) and called.attr in METHODS and not _is_module(called.value):
        yield f".{called.attr}()"
    elif isinstance(called, ast.Name) and called.id == "pow":
        yield "pow()"
    elif isinstance(called, ast.Name) and called.id == "sum" and node.args and _is_float(node.args[0]):
        yield "sum()"  # from Python 3.12 on it compensates for rounding


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy", "math", "kernels")


def _is_float(node: ast.expr) -> bool:
    """Whether a division, a float literal or float() stands in what is summed."""
    return any(
        (isinstance(part, ast.BinOp) and isinstance(part.op, ast.Div))
        or (isinstance(part, ast.Constant) and isinstance(part.value, float))
        or (isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "float")
        for part in ast.walk(node)
    )


def _operator(node: ast.BinOp | ast.AugAssign) -> Iterator[str]:
    if isinstance(node.op, ast.MatMult):
        yield "@"
    elif isinstance(node.op, ast.Pow) and not (isinstance(node, ast.BinOp) and _is_exact_power(node)):
        yield "**"


def _is_exact_power(node: ast.BinOp) -> bool:
    """Integer literals, or a power of two: 10**9, 2**n, 2.0**-53."""
    base = node.left
    if not isinstance(base, ast.Constant):
        return False
    exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
    whole = isinstance(exponent, ast.Constant) and type(exponent.value) is int
    return base.value == 2 or (type(base.value) is int and whole and not isinstance(node.right, ast.UnaryOp))
