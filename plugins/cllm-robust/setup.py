"""What is compiled, and how; all else stands in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

# No flag may let the compiler reorder, contract or assume away a NaN: cllm/kernel_abi.h.
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

ESTIMATE = Extension(
    "cllm_robust.estimate",
    ["src/cllm_robust/estimate.pyx"],
    # Copies of cllm's own header and declarations, so that nothing of cllm is needed to build: tests compare them.
    include_dirs=["include"],
    depends=["include/cllm/kernel_abi.h", "src/cllm_robust/abi.pxd"],
    extra_compile_args=FLAGS,
    # The stable ABI: one build serves every Python from 3.11 on.
    define_macros=[("Py_LIMITED_API", "0x030B0000"), ("CYTHON_LIMITED_API", "1")],
    py_limited_api=True,
)

setup(ext_modules=cythonize([ESTIMATE]), options={"bdist_wheel": {"py_limited_api": "cp311"}})
