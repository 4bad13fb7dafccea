"""The processes that work, seen from the one that measures: what a run took, and what others did meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class WorkerEnded(Exception):
    """A worker's process is no more; its own message has gone to the standard error stream."""


@dataclass(frozen=True)
class Run:
    """Some steps in a row."""

    seconds: float
    busy: float  # processor seconds of its threads, waiting in a spin included
    others: float  # cores that other processes used meanwhile; 0.0 where the system does not say
    found: list[Any]  # by step: losses, mostly


class Worker:
    """A process that speaks as benchmarks.worker does. Entered, it has done its first step.

    Raises WorkerEnded wherever the process ends before it should.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._begin = perf_counter()
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Worker:
        try:
            self.description = str(self._answer()["description"])
            self.first = self.run(1)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.start_seconds = perf_counter() - self._begin  # from the process' start to the end of its first step
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def run(self, n_steps: int) -> Run:
        assert self._process.stdin is not None
        busy = busy_seconds()
        try:
            print(n_steps, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        answer = self._answer()
        others = max(0.0, busy_seconds() - busy - answer["busy"]) / answer["seconds"]
        return Run(answer["seconds"], answer["busy"], others, answer["found"])

    @property
    def memory(self) -> int | None:
        """Bytes that the process had resident at the most, so far; None where the system does not say."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> WorkerEnded:
        return WorkerEnded(f"its process ended with {self._process.wait()}")


def busy_seconds() -> float:
    """Processor time that all processes of this machine, and those beside it on its host, have used; Linux only."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, steal = map(int, first[1:9])
    return (user + nice + system + interrupts + soft + steal) / float(os.sysconf("SC_CLK_TCK"))
