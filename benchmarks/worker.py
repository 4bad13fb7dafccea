"""A process that makes training steps when told to: `python -m benchmarks.worker cllm|torch FOLDER ...`.

Each line that it reads is a number of steps; each that it writes says, in JSON, what they took. Each side has its own
process, so that neither's threads, allocator or libraries are in the other's way; waiting costs no processor time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("cllm", "torch"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--fused", action="store_true")
    arguments = parser.parse_args()
    step, description = make_step(arguments)
    tell({"description": description})
    done = 0
    for line in sys.stdin:
        n_steps = int(line)
        busy, begin = process_time(), perf_counter()
        losses = [step(done + index) for index in range(n_steps)]
        seconds, busy = perf_counter() - begin, process_time() - busy
        done += n_steps
        tell({"seconds": seconds, "busy": busy, "losses": losses})


def make_step(arguments: argparse.Namespace) -> tuple[Callable[[int], float], str]:
    """Only one side's libraries are ever imported."""
    if arguments.side == "cllm":
        from benchmarks.cllm_step import CllmStep

        ours = CllmStep(arguments.folder, arguments.threads)
        return ours, ours.description
    from benchmarks.torch_step import TorchStep

    theirs = TorchStep(arguments.folder, arguments.threads, arguments.fused)
    return theirs, theirs.description


def tell(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
