"""OpenMP's functions come from one library, or cllm refuses to begin; and kernels come together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cllm import kernels
from cllm._kernels import cpu
from cllm.errors import KernelError
from tests.kernels.compiling import COMPILER, needs_a_compiler

# An older runtime, as another package may bring it: of what a region asks it has a half.
HALF = "int omp_get_thread_num(void) { return 0; }\nint omp_get_num_threads(void) { return 1; }\n"
BEFORE = """
import ctypes, sys
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
from cllm.cli import main
sys.exit(main(["doctor"]))
"""
LOADED = """
import sys
import cllm.kernels
compiled = lambda: {name for name in sys.modules if name.startswith("cllm._kernels.")}
before = compiled()
from tests.test_golden import gradient_digest
for name in ("plain", "llama_bf16"):
    gradient_digest(name, 2)
assert compiled() == before, compiled() - before
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nobody is asked elsewhere")
def test_openmp_is_one_library() -> None:
    found = cpu.openmp_libraries()
    assert len(found) == int(cpu.openmp() > 0)
    assert all(Path(name).is_file() for name in found)
    kernels.refuse_two_runtimes(found)


def test_two_are_refused_by_name() -> None:
    with pytest.raises(KernelError, match=r"^OpenMP: its functions come from /a.so and from /b.so; expected one libr"):
        kernels.refuse_two_runtimes(["/a.so", "/b.so"])


@needs_a_compiler
@pytest.mark.skipif(not cpu.openmp() or sys.platform != "linux", reason="without OpenMP there is nothing to mix")
def test_a_half_runtime_that_comes_first_is_noticed(tmp_path: Path) -> None:
    assert COMPILER is not None
    half = tmp_path / "libhalf.so"
    (tmp_path / "half.c").write_text(HALF)
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", str(half), str(tmp_path / "half.c")], check=True)
    done = subprocess.run([sys.executable, "-c", BEFORE, str(half)], capture_output=True, text=True, check=False)
    assert done.returncode == KernelError.exit_code, done.stdout + done.stderr
    assert done.stderr.startswith("cllm: OpenMP: its functions come from ")
    assert str(half) in done.stderr and done.stderr.count("\n") == 1


def test_no_kernel_is_loaded_after_the_first() -> None:
    """What is loaded in between by another package could bring a second runtime to the later ones."""
    subprocess.run([sys.executable, "-c", LOADED], check=True)
