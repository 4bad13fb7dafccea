"""Compares the kernels' stubs with the compiled modules of the installed cllm: mypy's stubtest, on each pair."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

import cllm._kernels

# Every module that Cython compiles has these; no stub should say so.
MADE_BY_CYTHON = (r".*\.__test__", r".*\.__reduce_cython__", r".*\.__setstate_cython__")


def main() -> int:
    folder = Path(str(cllm._kernels.__file__)).parent
    modules = sorted(f"cllm._kernels.{stub.stem}" for stub in folder.glob("*.pyi"))
    if not modules:
        print(f"no stubs in {folder}")
        return 1
    for module in modules:
        importlib.import_module(module)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as allowed:
        allowed.write("\n".join(MADE_BY_CYTHON))
        allowed.flush()
        options = ["--allowlist", allowed.name, "--ignore-unused-allowlist", "--ignore-disjoint-bases"]
        return subprocess.run([sys.executable, "-m", "mypy.stubtest", *options, *modules], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
