"""Processes that run steps, and what else the machine was doing meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """Some steps in a row."""

    seconds: float
    busy: float  # processor seconds of its threads, waiting in a spin included
    others: float  # cores that other processes used meanwhile; 0.0 where the system does not say
    losses: list[float]


class Worker:
    """benchmarks.worker in a process of its own."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *arguments], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Worker:
        self.description = str(self._answer()["description"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self, n_steps: int) -> Run:
        assert self._process.stdin is not None
        busy = busy_seconds()
        print(n_steps, file=self._process.stdin, flush=True)
        answer = self._answer()
        others = max(0.0, busy_seconds() - busy - answer["busy"]) / answer["seconds"]
        return Run(answer["seconds"], answer["busy"], others, answer["losses"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"benchmarks.worker ended with {self._process.wait()}; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def busy_seconds() -> float:
    """Processor time that all processes of this machine, and those beside it on its host, have used; Linux only."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, steal = map(int, first[1:9])
    return (user + nice + system + interrupts + soft + steal) / float(os.sysconf("SC_CLK_TCK"))


def mkl_as_intel(folder: Path) -> Path:
    """A library that answers MKL's question for Intel's processors with yes; on AMD it takes AVX2 code otherwise."""
    source, library = folder / "intel.c", folder / "intel.so"
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", library, source], check=True)
    return library
