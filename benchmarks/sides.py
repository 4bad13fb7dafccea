"""The processes of a comparison: cllm's and its peers', started one after the other on the same weights and batches."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from benchmarks.installed import installed_size
from benchmarks.machine import available_memory, mkl_as_intel
from benchmarks.model import prepare
from benchmarks.peers import Peer, llmc
from benchmarks.process import ROOT, Worker, WorkerEnded
from benchmarks.task import Task

CLLM = Peer("cllm", "cllm")
IMPORTS = {"cllm": "benchmarks.cllm_step", "torch": "torch", "jax": "jax"}
# A variable of the shell would decide which kernels or how many threads a side uses.
UNSET = (
    "OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "XLA_FLAGS", "LD_PRELOAD",
)


def worker_command(side: str, folder: Path, n_threads: int) -> list[str]:
    """What starts a side that is written in Python."""
    return [sys.executable, "-m", "benchmarks.worker", side, str(folder), "--threads", str(n_threads)]


def usual_environment() -> dict[str, str]:
    """This process's, without what would make sides unequal."""
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # NumPy only reads files here; idle threads of its pool would spin
    return environment


@dataclass
class Entrant:
    """A side that has started: its process, and the losses that it has found so far."""

    peer: Peer
    worker: Worker
    installed: int | None
    losses: list[float] = field(default_factory=list)
    pace: float = inf  # seconds a step, at its best so far

    def go_on(self, n_steps: int) -> list[float]:
        """Make steps; returns their losses."""
        if n_steps < 1:
            return []
        run = self.worker.run(n_steps)
        self.pace = min(self.pace, run.seconds / n_steps)
        return [float(loss) for loss in run.found]


@dataclass
class Field:
    """Starts sides of one task; all end with `stack`."""

    folder: Path
    task: Task
    n_threads: int
    stack: ExitStack
    fused: bool = False
    mkl_as_intel: bool = False
    llmc: Path | None = None
    entrants: list[Entrant] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def enter(self, peer: Peer) -> None:
        """Start a side and have it make its first two steps, or note why it does not run."""
        reason = peer.missing(self.llmc) or self._lacks_memory()
        if reason is None:
            try:
                entrant = self._start(peer)
                entrant.losses += entrant.go_on(1)
                self.entrants.append(entrant)
            except (WorkerEnded, subprocess.CalledProcessError) as error:
                reason = str(error)
        if reason is not None:
            self.left_out[peer.name] = reason

    def reference(self, peer: Peer, n_steps: int) -> list[float]:
        """The losses that cllm finds with the model that this peer can train."""
        command = self._command(CLLM, self._folder(peer))
        with Worker(command, self._environment(CLLM)) as worker:
            return [*worker.first.found, *worker.run(n_steps - 1).found]

    def _start(self, peer: Peer) -> Entrant:
        command, environment = self._command(peer, self._folder(peer)), self._environment(peer)
        if peer.kind in IMPORTS:  # else whoever comes first would read its libraries from disk, and others from memory
            importing = [sys.executable, "-c", f"import {IMPORTS[peer.kind]}"]
            subprocess.run(importing, check=True, cwd=ROOT, env=environment)
        worker = self.stack.enter_context(Worker(command, environment))
        size = Path(command[0]).stat().st_size if peer.kind == "llmc" else installed_size(peer.kind)
        return Entrant(peer, worker, size, list(worker.first.found))

    def _folder(self, peer: Peer) -> Path:
        """With the weights and batches of the task, or of what the peer makes of it."""
        task = peer.variant(self.task)
        folder = self.folder / ("task" if task == self.task else peer.name)
        if not folder.exists():
            prepare(folder, task)
        return folder

    def _command(self, peer: Peer, folder: Path) -> list[str]:
        if peer.kind == "llmc":
            assert self.llmc is not None
            return llmc.command(folder, self.llmc)
        fused = ["--fused"] if self.fused and peer.kind == "torch" else []
        return [*worker_command(peer.kind, folder, self.n_threads), *peer.options, *fused]

    def _environment(self, peer: Peer) -> dict[str, str]:
        environment = usual_environment()
        if peer.kind == "llmc":
            environment["OMP_NUM_THREADS"] = str(self.n_threads)
        if peer.kind == "torch":  # what an earlier run has compiled would hide what the first step takes
            environment["TORCHINDUCTOR_CACHE_DIR"] = str(self.folder / f"inductor-{peer.name}")
            if peer.mkl_as_intel or self.mkl_as_intel:
                environment["LD_PRELOAD"] = str(mkl_as_intel(self.folder))
        return environment

    def _lacks_memory(self) -> str | None:
        """All sides are there together, so one more needs about what the largest has."""
        available, largest = available_memory(), max((e.worker.memory or 0 for e in self.entrants), default=0)
        if available is None or available >= 1.5 * largest:
            return None
        return f"{available / 1e9:.1f} GB of memory are left, and a side has {largest / 1e9:.1f} GB; run it by itself"

