"""Trains in a process with two OpenMP runtimes, and in a fork of it: test_wheel.py runs this, it is no test itself.

    beside.py before|between FOLDER [torch]

The other runtime is the system's, or PyTorch's, from before cllm is imported or only from after its first run.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np


def start_the_other() -> None:
    """A region on three threads of its own; its functions come first for whatever is loaded later."""
    other = ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
    seen: list[int] = []
    part = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: seen.append(other.omp_get_thread_num()))
    other.GOMP_parallel(part, None, 3, 0)
    assert sorted(seen) == [0, 1, 2], seen


def start_torch() -> None:
    """PyTorch puts its runtime where the linker looks first when it is imported; here its threads work, too."""
    import torch

    torch.set_num_threads(3)
    square = torch.ones((600, 600), requires_grad=True)
    torch.nn.functional.gelu(square @ square).sum().backward()


def trained(folder: Path) -> str:
    """A run's digest, after NumPy has used its threads."""
    from tests.test_golden import run_digest

    folder.mkdir()
    square = np.ones((300, 300))
    assert float((square @ square)[0, 0]) == 300.0
    return run_digest("plain", "whole", 3, folder)


def trained_in_a_fork(folder: Path) -> str:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that waits for threads that it does not have
        os.write(write, trained(folder).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        digest = told.read()
    os.waitpid(child, 0)
    return digest


def runtimes() -> list[str]:
    maps = Path("/proc/self/maps").read_text().split()
    return sorted({str(Path(word).resolve()) for word in maps if "libgomp" in word or "libiomp" in word})


def main() -> None:
    order, folder = sys.argv[1], Path(sys.argv[2])
    start = start_torch if "torch" in sys.argv[3:] else start_the_other
    if order == "before":
        start()
    digests = [trained(folder / "first")]
    start()
    digests += [trained_in_a_fork(folder / "fork"), trained(folder / "last")]
    print(json.dumps({"digests": digests, "runtimes": runtimes()}))


if __name__ == "__main__":
    main()
