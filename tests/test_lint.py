"""tools/lint.py: snippets that it must find and snippets that it must leave alone, and the project itself.

Not every flag and every function by itself: those are the tables of test_lint_tables.py.
"""

from __future__ import annotations

import pytest

from tools.lint import EXEMPT, ROOT, files, lint

PRANGE = "def f(float[::1] x, float[::1] out):\n    cdef int i\n    cdef long n = 0\n    cdef float total = 0\n"
LIST = "numeric_flags = ['-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math']\n"
SHORT = LIST.replace("'-ffp-contract=off', ", "")
TARGET = "py.extension_module('norm', 'norm.pyx', c_args: numeric_flags + flags, dependencies: [openmp])"
LOOP = PRANGE + "    for i in prange(x.shape[0], nogil=True):\n        "

BAD = {
    "race": (".pyx", LOOP + "out[0] += x[i]"),
    "race of two indices": (".pyx", LOOP + "out[0, 1] -= x[i]"),
    "race by a computed index": (".pyx", LOOP + "out[i // 2] *= x[i]"),
    "race by division": (".pyx", LOOP + "out[j] /= x[i]"),
    "race through a table": (".pyx", LOOP + "out[table[i]] += x[i]"),
    "race in a field": (".pyx", LOOP + "out[0].sum += x[i]"),
    "race in an attribute": (".pyx", LOOP + "self.total += x[i]"),
    "race deeper in": (".pyx", LOOP + "if x[i] > 0:\n            for j in range(3):\n                out[j] += x[i]"),
    "race after an empty line": (".pyx", LOOP + "y = x[i]\n\n        out[0] += y"),
    "race under a header of three lines": (
        ".pyx", PRANGE + "    for i in prange(\n        n, schedule='static',\n    ):\n        out[0] += x[i]",
    ),
    "race on one line": (".pyx", PRANGE + "    for i in prange(n): out[0] += x[i]"),
    "race in a parallel block": (".pyx", PRANGE + "    with nogil, parallel():\n        out[0] += 1"),
    "race by a qualified prange": (".pyx", PRANGE + "    for i in cython.parallel.prange(n):\n        out[0] += x[i]"),
    "float reduction": (".pyx", LOOP + "total += x[i]"),
    "float reduction by product": (".pyx", LOOP + "total *= x[i]"),
    "race written out": (".pyx", LOOP + "out[0] = out[0] + x[i]"),
    "race written out over lines": (".pyx", LOOP + "out[0] = (\n            x[i] + out[ 0 ]\n        )"),
    "race of stores": (".pyx", LOOP + "out[0] = x[i]"),
    "race written out in an attribute": (".pyx", LOOP + "self.total = max(self.total, x[i])"),
    "race under a condition": (".pyx", LOOP + "if x[i] > 0: out[j] = x[i] * out[j]"),
    "float sum written out": (".pyx", LOOP + "total = total + x[i]"),
    "float maximum written out": (".pyx", LOOP + "total = max(x[i], total)"),
    "integer sum written out": (".pyx", LOOP + "n = n + 1"),
    "sum written out in a parallel block": (".pyx", PRANGE + "    with nogil, parallel():\n        total = total + 1"),
    "thread id": (".pyx", "from cython.parallel cimport threadid"),
    "thread id in C": (".h", "int t = omp_get_thread_num();"),
    "thread id in Python": (".py", "import threading\nt = threading.get_ident()"),
    "OpenMP in C": (".c", "#pragma omp parallel for reduction(+:total)"),
    "OpenMP as an operator in C": (".c", '_Pragma("omp parallel for")'),
    "OpenMP in C of Cython": (".pyx", 'cdef extern from *:\n    """\n    #pragma omp parallel\n    """'),
    "flag": (".build", "c_args: ['-O3', '-ffast-math']"),
    "flag -Ofast": (".toml", 'args = ["-Ofast"]'),
    "flag in tox": (".ini", "    CFLAGS = -funsafe-math-optimizations"),
    "flag of association": (".build", "x = '-fassociative-math'"),
    "flag of contraction": (".build", "x = '-ffp-contract=fast'"),
    "no flags": (".build", TARGET),
    "flags that one target leaves out": (".build", f"{LIST}{TARGET}\n{TARGET.replace('numeric_flags', '[]')}"),
    "a flag that the list leaves out": (".build", SHORT + TARGET),
    "a flag that a comment has": (".build", "# '-ffp-contract=off'\n" + SHORT + TARGET),
    "pragma of GCC": (".c", '#pragma GCC optimize ("fast-math")'),
    "pragma of C": (".h", "#pragma STDC FP_CONTRACT ON"),
    "pragma of clang": (".h", "#pragma clang fp reassociate(on)"),
    "attribute": (".c", '__attribute__((optimize("Ofast"))) void f(void);'),
    "attribute in Cython": (
        ".pyx", 'cdef extern from *:\n    """\n    __attribute__((__optimize__("fast-math"))) void f(void);\n    """',
    ),
    "approximate root": (".h", "x = _mm512_rsqrt14_ps(y);"),
    "approximate reciprocal": (".h", "x = vrecpeq_f32(y);"),
    "libm": (".pyx", "from libc.math cimport sqrt, expf"),
    "libm, renamed": (".pyx", "from libc.math cimport (\n    exp as d_exp,\n)"),
    "libm, whole": (".pyx", "cimport libc.math"),
    "libm, all": (".pyx", "from libc.math cimport *"),
    "libm, a module": (".pyx", "from libc cimport math"),
    "libm, a module renamed": (".pyx", "from libc cimport stdint, math as m"),
    "libm among others": (".pyx", "cimport cython, libc.math"),
    "libm by its name in C": (".pyx", 'cdef extern from "math.h" nogil:\n    float f "expf"(float)'),
    "libm of NumPy": (".pyx", "from numpy.math cimport expf"),
    "libm of C++": (".pyx", "from libcpp.cmath cimport pow"),
    "BLAS of SciPy": (".pyx", "from scipy.linalg.cython_blas cimport sgemm"),
    "BLAS of SciPy, a module": (".pyx", "from scipy.linalg cimport cython_blas as blas"),
    "BLAS": (".pyx", 'cdef extern from "cblas.h" nogil:\n    void cblas_sgemm(int order)'),
    "BLAS in C": (".c", "sgemm_(&no, &no, &m, &n, &k);"),
    "approximate root as a builtin": (".h", "x = __builtin_ia32_rsqrtps(y);"),
    "libm in C": (".c", "float f(float x) { return tanhf(x); }"),
    "libm as a builtin": (".h", "y = __builtin_pow(x, 2.0);"),
    "math": (".py", "import math\ny = math.exp(x)"),
    "math, imported": (".py", "from math import cos, sqrt"),
    "math.fsum": (".py", "import math\ny = math.fsum(x)"),
    "math, renamed": (".py", "import math as m\ny = m.exp(x)"),
    "math, all": (".py", "from math import *"),
    "product of floats": (".py", "import math\ny = math.prod(rates)"),
    "numpy, renamed": (".py", "import numpy as n\ny = n.dot(x, x)"),
    "numpy, all": (".py", "from numpy import *"),
    "numpy.linalg": (".py", "import numpy.linalg as la"),
    "np.add.at": (".py", "np.add.at(out, index, x)"),
    "np.add.reduceat": (".py", "y = np.add.reduceat(x, starts)"),
    "a ufunc by its name": (".py", "from numpy import add\ny = add.reduce(x)"),
    "weights of bincount": (".py", "y = np.bincount(index, weights=x)"),
    "weights of bincount by place": (".py", "y = np.bincount(index, x)"),
    "np.trace": (".py", "y = np.trace(x)"),
    "np.reciprocal": (".py", "y = np.reciprocal(x)"),
    "operator": (".py", "import operator\ny = operator.pow(x, 2)"),
    "np.sum": (".py", "import numpy as np\ny = np.sum(x)"),
    "np.dot": (".py", "y = np.dot(x, x)"),
    "np.mean, imported": (".py", "from numpy import mean"),
    "np.exp": (".py", "y = np.exp(x)"),
    "np.log": (".py", "y = np.log(x)"),
    "np.linalg": (".py", "y = np.linalg.norm(x)"),
    "np.random": (".py", "y = np.random.default_rng(0)"),
    "np.add.reduce": (".py", "y = np.add.reduce(x)"),
    ".sum()": (".py", "y = x.sum()"),
    ".mean()": (".py", "y = f(x).mean(axis=0)"),
    "@": (".py", "y = a @ b"),
    "@=": (".py", "a @= b"),
    "float power": (".py", "y = beta**t"),
    "root as a power": (".py", "y = 2.0**0.5"),
    "power of two with a variable": (".py", "y = 2.0**x"),
    "integer power that may be a float's": (".py", "y = 2**x"),
    "negative power of ten": (".py", "y = 10**-3"),
    "square": (".py", "y = x**2"),
    "power in place": (".py", "y **= 0.5"),
    "pow": (".py", "y = pow(beta, t)"),
    "sum of quotients": (".py", "y = sum(a / b for a, b in pairs)"),
    "random": (".py", "import random"),
    "statistics": (".py", "from statistics import fmean"),
    "torch": (".py", "import torch.nn"),
    "a pickle in a function": (".py", "def f(path):\n    import pickle\n    return pickle.load(path.open('rb'))"),
    "a pickle, imported": (".py", "from pickle import loads"),
    "an array of pickles": (".py", "import numpy as np\nx = np.load(path)"),
    "an array of pickles, imported": (".py", "from numpy import load"),
    "pickles allowed": (".py", "x = read(path, allow_pickle=True)"),
    "weights of PyTorch": (".py", "x = torch.load(path)"),
    "an archive": (".py", "import tarfile"),
    "an archive, unpacked": (".py", "shutil.unpack_archive(path)"),
    "a file that is run": (".py", "exec(open(path).read())"),
    "text that is run": (".py", "x = eval(text)"),
}

GOOD = {
    "own element": (".pyx", LOOP + "out[i] += x[i]"),
    "own row": (".pyx", LOOP + "out[i, 3] += x[i]"),
    "own field": (".pyx", LOOP + "workers[i].busy += 1.0"),
    "integer reduction": (".pyx", LOOP + "n += 1"),
    "own element written out": (".pyx", LOOP + "out[i] = out[i] + x[i]"),
    "own copy": (".pyx", LOOP + "total = x[i]\n        total = total + 1"),
    "own slice": (".pyx", LOOP + "for j in range(begin[i], begin[i + 1]):\n            out[j] = x[j]"),
    "own pointer": (".pyx", LOOP + "p = first + i\n        p[0] = x[i]"),
    "another's name in a call": (".pyx", LOOP + "f(n=n, total=total)"),
    "after the loop": (".pyx", LOOP + "f(i)\n    out[0] += 1"),
    "an ordinary loop": (".pyx", PRANGE + "    for i in range(n):\n        out[0] += x[i]\n        total += x[i]"),
    "comparison": (".pyx", LOOP + "if out[0] <= x[i] and out[1] >= 0: f(i)"),
    "comment": (".pyx", LOOP + "f(i)  # out[0] += x[i] would be a race"),
    "docstring": (".pyx", 'def f():\n    """Like exp(x), not -ffast-math; threadid() is not used."""'),
    "exact functions": (".pyx", "from libc.math cimport sqrt, sqrtf, fmaf, isfinite, INFINITY"),
    "own functions": (".pyx", "y = d_exp(x) + f16_exp(z) + sqrt(x) + table.log(x)"),
    "C comment": (".c", "/* like exp(x) with -ffast-math */ // omp_get_thread_num()\n"),
    "C fma": (".c", "float f(float x) { return __builtin_fmaf(x, x, x); }"),
    "unroll": (".c", "#pragma GCC unroll 16"),
    "exact intrinsics": (".h", "x = _mm512_sqrt_ps(y); z = _mm512_div_ps(x, y);"),
    "flags that are right": (".build", "['-ffp-contract=off', '-fno-math-errno', '-O3']"),
    "a target with its flags": (".build", LIST + TARGET),
    "comment on flags": (".build", "# never -Ofast nor -ffast-math\nx = 1"),
    "exact math": (".py", "import math\ny = math.sqrt(x) if math.isfinite(x) else math.inf"),
    "integer NumPy": (".py", "y = np.arange(3).reshape(-1)[np.argsort(x)]"),
    "powers that are exact": (".py", "y = 10**9 + 2**64 + 2.0**-53 + (1 << n)"),
    "keyword arguments": (".py", "y = f(**options)"),
    "counts": (".py", "y = np.bincount(index, minlength=3)"),
    "module of the same name": (".py", "import functools\ny = functools.reduce(f, x)"),
    "sum of counts": (".py", "y = sum(len(x) for x in xs)"),
    "kernels": (".py", "y = kernels.exp64(x)"),
    "docstring in Python": (".py", '"""np.sum(x) ** 2"""'),
    "patterns and methods": (".py", "import re\nx = re.compile(text)\ny = x.eval()\nz = json.load(file)"),
}


@pytest.mark.parametrize("name", BAD)
def test_found(name: str) -> None:
    suffix, text = BAD[name]
    assert lint("src/cllm/some" + suffix, text)


@pytest.mark.parametrize("name", GOOD)
def test_left_alone(name: str) -> None:
    suffix, text = GOOD[name]
    assert lint("src/cllm/some" + suffix, text) == []


def test_a_finding_names_its_line() -> None:
    (finding,) = lint("src/cllm/some.pyx", LOOP + "out[0] += x[i]")
    assert str(finding).startswith("src/cllm/some.pyx:6: out[0] +=: a race")


def test_definitions_are_exempt_from_arithmetic_only() -> None:
    assert lint("src/cllm/ops/some.py", "y = np.exp(x) @ w") == []
    assert lint("src/cllm/ops_of_mine.py", "y = np.exp(x) @ w")
    assert lint("benchmarks/some.pyx", LOOP + "out[0] += x[i]")


@pytest.mark.parametrize("place", sorted({place for place, _, _ in EXEMPT}))
def test_what_is_exempt_exists(place: str) -> None:
    assert (ROOT / place).exists()


def test_the_project_keeps_the_rules() -> None:
    paths = [path.relative_to(ROOT).as_posix() for path in files()]
    assert {"tox.ini", "src/cllm/_kernels/tile.c", "src/cllm/_kernels/reduce.pyx", "src/cllm/engine.py"} <= set(paths)
    assert [finding for path in paths for finding in lint(path, (ROOT / path).read_text(encoding="utf-8"))] == []
