"""Starts ranks as a user does: mpiexec, and `cllm train` on each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = """\
name = "mpi"
[model]
block_size = 16
n_layer = 2
n_head = 2
n_embd = 16
[data]
path = "text.txt"
[train]
steps = 12
batch_size = 7
micro_batch_size = 1
eval_every = 6
eval_batches = 3
digest_every = 4
[schedule]
name = "cosine"
warmup_steps = 2
[checkpoint]
every = 5
[sinks]
console = false
[dist]
communicator = "mpi"
"""
LONG = ("--set", "train.steps=100000", "--set", "train.eval_every=0", "--set", "checkpoint.every=20")
TEXT = "".join(f"{n} and {n} make {2 * n}.\n" for n in range(400))
PATIENCE = 120.0  # seconds


def launcher() -> str:
    """The mpiexec beside this Python, or else the system's."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    return found or pytest.fail("no mpiexec: pip install mpich")


def command(n_ranks: int, *words: str) -> list[str]:
    return [launcher(), "-n", str(n_ranks), sys.executable, "-m", "cllm", *words]


def cllm(n_ranks: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Output of all ranks together; ranks 0: without mpiexec."""
    called = command(n_ranks, *words)[3 if not n_ranks else 0 :]
    return subprocess.run(called, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)


def train(n_ranks: int, out: str, *words: str) -> subprocess.CompletedProcess[str]:
    done = cllm(n_ranks, "train", "run.toml", "--out", out, "--threads", "1", *words)
    assert done.returncode == 0, done.stderr
    return done


def digest(run: str) -> str:
    return cllm(0, "digest", run).stdout.strip()


class Job:
    """A long run, under way."""

    def __init__(self, n_ranks: int, out: str, *words: str) -> None:
        self._out = Path(out)
        called = command(n_ranks, "train", "run.toml", "--out", out, "--threads", "1", *LONG, *words)
        self._process = subprocess.Popen(called, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_for(self, checkpoint: int) -> None:
        """Until it has saved this one."""
        end = time.monotonic() + PATIENCE
        while not (self._out / "checkpoints" / f"step-{checkpoint:08d}").exists():
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < end, "no checkpoint yet"
            time.sleep(0.05)

    def ranks(self) -> list[int]:
        """The processes that train, the newest last."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:4] == [b"-m", b"cllm", b"train"] and str(self._out).encode() in words and is_cllm(words[0]):
                found.append(int(folder.name))
        return sorted(found)

    def signal(self, process: int, number: signal.Signals) -> float:
        """Send it, and say how many seconds later the whole job was over."""
        begin = time.monotonic()
        os.kill(process, number)
        self.output, self.errors = self._process.communicate(timeout=PATIENCE)
        self.code = self._process.returncode
        return time.monotonic() - begin


def is_cllm(word: bytes) -> bool:
    return word == sys.executable.encode()
