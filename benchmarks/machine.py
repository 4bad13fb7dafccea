"""The machine that measures: its name, its memory, and a library that changes what MKL thinks of it."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from cllm import kernels
from cllm.machine import cores, total_memory


def describe() -> str:
    """One line for readers of the numbers."""
    return (
        f"{processor()}, {cores().usable} of {cores().logical} cores, {total_memory() / 1e9:.0f} GB, "
        f"kernels {kernels.ISA}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def processor() -> str:
    """As the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def available_memory() -> int | None:
    """Bytes that new processes can have; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def mkl_as_intel(folder: Path) -> Path:
    """A library that answers MKL's question for Intel's processors with yes; on AMD it takes AVX2 code otherwise."""
    source, library = folder / "intel.c", folder / "intel.so"
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", library, source], check=True)
    return library
