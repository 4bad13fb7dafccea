"""Rules for Python on the numeric path: no libm, no NumPy arithmetic, no sums whose order nobody wrote down.

They see names, not types: a sum of integers looks like a sum of floats (write `len`, `count_nonzero` or a loop, or
exempt the file in tools/lint.py), and a power is exact only where both numbers stand there (write `1 << n`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tools.lint_finding import Finding

RULE = "numerics rule 5: its bits differ between machines, shapes or versions; use cllm.kernels or a written-out loop"
THREAD = "what a thread computes must not depend on which thread it is"

# IEEE demands the exact or correctly rounded result of these, or they work on integers.
EXACT_MATH = {
    "sqrt", "isfinite", "isnan", "isinf", "isqrt", "floor", "ceil", "trunc", "fabs", "copysign", "ldexp", "frexp",
    "nextafter", "ulp", "gcd", "lcm", "comb", "factorial", "inf", "nan", "pi", "e", "tau",
}
NUMPY_ARITHMETIC = {
    "sum", "nansum", "mean", "nanmean", "average", "median", "nanmedian", "var", "nanvar", "std", "nanstd",
    "prod", "nanprod", "cumsum", "cumprod", "nancumsum", "nancumprod", "cumulative_sum", "cumulative_prod", "trace",
    "trapezoid", "trapz", "dot", "vdot", "vecdot", "matvec", "vecmat", "inner", "matmul", "tensordot", "einsum",
    "einsum_path", "linalg", "fft", "convolve", "correlate", "cov", "corrcoef", "reciprocal", "exp", "exp2", "expm1",
    "log", "log2", "log10", "log1p", "logaddexp", "logaddexp2", "power", "float_power", "pow", "cbrt", "hypot",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "asin", "acos", "atan", "atan2", "sinh", "cosh",
    "tanh", "arcsinh", "arccosh", "arctanh", "asinh", "acosh", "atanh", "sinc", "i0", "deg2rad", "rad2deg",
    "degrees", "radians", "emath", "interp", "polyfit", "polyval", "poly1d", "polynomial", "gradient", "percentile",
    "quantile", "nanpercentile", "nanquantile", "random", "histogram", "histogram2d", "histogramdd", "geomspace",
    "logspace", "linspace",
}
UFUNC_METHODS = {"reduce", "accumulate", "reduceat", "at"}  # np.add.reduce
METHODS = {"sum", "mean", "std", "var", "prod", "cumsum", "cumprod", "dot", "matmul", "trace"}
MODULES = {"cmath", "random", "statistics", "scipy", "torch", "numba", "numexpr"}
THREADS = {"get_ident", "get_native_id", "current_thread"}
OPERATORS = {"pow", "ipow", "matmul", "imatmul"}  # of the module operator

# What a name stands for where the file does not say it.
USUAL = {"np": "numpy", "numpy": "numpy", "math": "math", "operator": "operator", "kernels": "cllm.kernels"}


def lint_python(path: str, text: str) -> list[Finding]:
    """The findings of one file."""
    tree = ast.parse(text)
    modules = {**USUAL, **_named_modules(tree)}
    found = [
        Finding(path, getattr(node, "lineno", 0), what, THREAD if what in THREADS else RULE, is_arithmetic=True)
        for node in ast.walk(tree)
        for what in _wrong(node, modules)
    ]
    return sorted(found, key=lambda finding: finding.line)


def _named_modules(tree: ast.AST) -> dict[str, str]:
    """What `import numpy as n` and the like make of names."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import) else ():
            whole = alias.name if alias.asname else alias.name.split(".")[0]
            found[alias.asname or whole] = whole
    return found


def _wrong(node: ast.AST, modules: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import {alias.name}" for alias in node.names if _is_foreign(alias.name))
    elif isinstance(node, ast.ImportFrom):
        yield from _imported(node)
    elif isinstance(node, ast.Attribute):
        yield from _attribute(node, modules)
    elif isinstance(node, ast.Call):
        yield from _call(node, modules)
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        yield from _operator(node)


def _is_foreign(module: str) -> bool:
    """Whether a module, numpy.linalg for one, has nothing that the numeric path may use."""
    first, *rest = module.split(".")
    return first in MODULES or (first == "numpy" and any(part in NUMPY_ARITHMETIC for part in rest))


def _imported(node: ast.ImportFrom) -> Iterator[str]:
    module, names = node.module or "", [alias.name for alias in node.names]
    if node.level:
        return
    if module.split(".")[0] in MODULES:
        yield f"from {module} import"
    elif module == "math":
        yield from (f"math.{name}" for name in names if name not in EXACT_MATH)
    elif module == "operator":
        yield from (f"operator.{name}" for name in names if name in OPERATORS)
    elif module.split(".")[0] == "numpy":
        parts = [*module.split(".")[1:], *names]
        yield from (name for name in parts if name in NUMPY_ARITHMETIC or name == "*")
    elif module == "threading":
        yield from (name for name in names if name in THREADS)


def _attribute(node: ast.Attribute, modules: Mapping[str, str]) -> Iterator[str]:
    owner = _module(node.value, modules)
    if owner == "math" and node.attr not in EXACT_MATH:
        yield f"math.{node.attr}"
    elif owner == "operator" and node.attr in OPERATORS:
        yield f"operator.{node.attr}"
    elif node.attr in THREADS or (owner == "numpy" and node.attr in NUMPY_ARITHMETIC):
        yield node.attr
    elif node.attr in UFUNC_METHODS and not owner:
        yield f"{_name_of(node.value)}.{node.attr}"


def _call(node: ast.Call, modules: Mapping[str, str]) -> Iterator[str]:
    called = node.func
    if isinstance(called, ast.Attribute) and called.attr in METHODS and not _module(called.value, modules):
        yield f".{called.attr}()"
    elif _name_of(called) == "bincount" and (len(node.args) > 1 or any(k.arg == "weights" for k in node.keywords)):
        yield "bincount(weights)"  # else it counts: integers
    elif isinstance(called, ast.Name) and called.id == "pow":
        yield "pow()"
    elif isinstance(called, ast.Name) and called.id == "sum" and node.args and _is_float(node.args[0]):
        yield "sum()"  # from Python 3.12 on it compensates for rounding


def _module(node: ast.expr, modules: Mapping[str, str]) -> str:
    """The module that an expression names, or nothing."""
    return modules.get(node.id, "") if isinstance(node, ast.Name) else ""


def _name_of(node: ast.expr) -> str:
    """The last name of `f`, `np.f` and `x.f`."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


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
    """Integers, or a power of two: 10**9, 2**64, 2.0**-53. What a variable holds is not known: 2.0**0.5 is libm's."""
    base, exponent = node.left, node.right
    is_negative = isinstance(exponent, ast.UnaryOp) and isinstance(exponent.op, ast.USub)
    whole = exponent.operand if isinstance(exponent, ast.UnaryOp) else exponent
    if not (isinstance(base, ast.Constant) and isinstance(whole, ast.Constant) and type(whole.value) is int):
        return False
    return base.value == 2 or (type(base.value) is int and not is_negative)
