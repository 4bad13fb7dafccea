"""A library built with -ffast-math that is loaded in the middle of a run changes no bit (numerics rule 7)."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.compiling import COMPILER, needs_a_compiler
from tests.test_golden import OVERRIDES, RUNS

# What gcc's crtfastmath.o does when such a library is loaded; from gcc 13 on it is left out of libraries.
LIBRARY = """
#include <xmmintrin.h>
__attribute__((constructor)) static void flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
int is_flushing(void) { volatile float small = 1e-38f; return small * 0.1f == 0.0f; }
"""
# Loads it after step 3 of 12, and prints whether it flushed before and after it.
RUN = """
import ctypes, sys
from pathlib import Path
import cllm
from tests.runs import config, digest_of

folder, library, override, threads = Path(sys.argv[1]), *sys.argv[2:]
small = 1e-300
with cllm.Trainer(config(folder, override, f"train.threads={threads}"), folder / "run") as trainer:
    for report in trainer:
        if report.step == 3:
            before = small * 1e-10 == 0.0
            loaded = ctypes.CDLL(library)
print(before, small * 1e-10 == 0.0, loaded.is_flushing(), digest_of(folder / "run"))
"""


@needs_a_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the library sets x86's MXCSR")
@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_a_fast_math_library_in_the_middle_of_a_run(n_threads: int, tmp_path: Path) -> None:
    assert COMPILER is not None
    (tmp_path / "fast.c").write_text(LIBRARY)
    command = [COMPILER, "-O2", "-ffast-math", "-shared", "-fPIC", "fast.c", "-o", "fast.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    words = [str(tmp_path), str(tmp_path / "fast.so"), OVERRIDES["plain"], str(n_threads)]
    run = subprocess.run(
        [sys.executable, "-c", RUN, *words], capture_output=True, text=True, timeout=120, check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["False", "True", "1", RUNS["plain"]]
