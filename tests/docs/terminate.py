"""Stands in for whoever stops a container: runs a command, sends it SIGTERM after its first steps, exits as it does.

    python -m tests.docs.terminate cllm train ... --out runs/long ...
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def main(command: list[str]) -> int:
    metrics = Path(command[command.index("--out") + 1]) / "metrics.jsonl"
    run = subprocess.Popen(command)
    while run.poll() is None and not (metrics.is_file() and metrics.stat().st_size):
        time.sleep(0.05)
    run.terminate()
    return run.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
