"""Compiles and runs a few lines of C against the kernels' headers, where a C compiler is at hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.layers import SOURCES

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
HEADERS = SOURCES / "cllm" / "_kernels"

needs_a_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


def compiled(source: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """What the compiler says of a program, which becomes folder/program."""
    assert COMPILER is not None
    (folder / "program.c").write_text(source, encoding="utf-8")
    command = [COMPILER, "-O1", *flags, "-I", str(HEADERS), "program.c", "-o", "program", "-lm"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def printed(source: str, folder: Path) -> str:
    """What a program prints."""
    done = compiled(source, folder)
    assert done.returncode == 0, done.stderr
    return subprocess.run([folder / "program"], capture_output=True, text=True, check=True).stdout
