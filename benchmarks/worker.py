"""A process that does work when told to: `python -m benchmarks.worker SIDE FOLDER --threads N ...`.

Each line that it reads is a number of pieces of work, steps of training for most sides; each that it writes says, in
JSON, what they took and what was found. Each side has its own process, so that neither's threads, allocator or
libraries are in another's way; waiting costs no processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

SIDES = ("cllm", "torch", "jax", "cllm-generate", "torch-generate")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    for flag in ("--fused", "--compile", "--bf16"):
        parser.add_argument(flag, action="store_true")
    work, description = make_work(parser.parse_args())
    tell({"description": description})
    done = 0
    for line in sys.stdin:
        n = int(line)
        busy, begin = process_time(), perf_counter()
        found = [work(done + index) for index in range(n)]
        seconds, busy = perf_counter() - begin, process_time() - busy
        done += n
        tell({"seconds": seconds, "busy": busy, "found": found})


def make_work(arguments: argparse.Namespace) -> tuple[Callable[[int], Any], str]:
    """Only one side's libraries are ever imported."""
    side, folder, n_threads = arguments.side, arguments.folder, arguments.threads
    if side == "cllm":
        from benchmarks.cllm_step import CllmStep

        cllm = CllmStep(folder, n_threads)
        return cllm, cllm.description
    if side == "torch":
        from benchmarks.peers.torch_step import TorchStep

        torch = TorchStep(folder, n_threads, arguments.fused, arguments.compile, arguments.bf16)
        return torch, torch.description
    if side == "jax":
        limit_cores(n_threads)
        from benchmarks.peers.jax_step import JaxStep

        jax = JaxStep(folder)
        return jax, jax.description
    if side == "cllm-generate":
        from benchmarks.cllm_generate import CllmGenerate

        ours = CllmGenerate(folder)
        return ours, ours.description
    from benchmarks.peers.torch_generate import TorchGenerate

    theirs = TorchGenerate(folder, n_threads)
    return theirs, theirs.description


def limit_cores(n: int) -> None:
    """JAX starts a thread for every core that its process may use when it is imported, and has no other switch."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n])


def tell(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
