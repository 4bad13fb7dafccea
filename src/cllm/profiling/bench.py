"""Measures training steps over thread counts, in processes of their own that take turns.

Each process assembles the run as `cllm train` does and makes steps when asked; rounds go from one to the next, so that
a machine whose speed drifts is unjust to none of them.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from types import TracebackType
from typing import Any

import msgspec

from cllm.assemble import Assembly, assemble, open_run_data
from cllm.config import Config
from cllm.errors import CllmError, UsageError
from cllm.hooks.manager import build_manager
from cllm.machine import cores
from cllm.profiling.peak import Peak, measure_peak
from cllm.profiling.profile import Profile, make_step, profile
from cllm.profiling.scaling import costs_of, memory_speedups, predict


@dataclass(frozen=True)
class Measured:
    """One config on one number of threads; or predicted for one."""

    name: str
    n_threads: int
    tokens_per_second: float
    flops_utilisation: float | None  # None for a prediction
    speedup: float  # over one thread
    foreseen: float  # the speed-up by the model of scaling.py, which has seen one thread alone
    memory: int | None  # bytes that the process had resident at the most
    seconds: tuple[float, ...] = ()  # of a step, one a round
    predicted: bool = False

    @property
    def efficiency(self) -> float:
        return self.speedup / self.n_threads


def thread_counts(asked: Sequence[int] | None) -> list[int]:
    """1, 2, 4, 8 as far as there are cores, or what was asked for; 1 is always there, for speed-ups refer to it."""
    counts = asked or [n for n in (1, 2, 4, 8) if n <= cores().usable]
    return sorted({1, *counts})


def bench(
    config: Config, counts: Sequence[int], predicted: Sequence[int], n_rounds: int = 5, seconds: float = 1.0
) -> list[Measured]:
    """A row for every count, from n_rounds of about `seconds` each; then one for every predicted count."""
    with ExitStack() as stack:
        workers = {n: stack.enter_context(Worker(config, n)) for n in counts}
        slowest = max(worker.steps(2) / 2 for worker in workers.values())
        n_steps = max(1, round(seconds / slowest))
        times: dict[int, list[float]] = {n: [] for n in counts}
        for _ in range(n_rounds):
            for n, worker in workers.items():
                times[n].append(worker.steps(n_steps) / n_steps)
        facts = {n: worker.facts() for n, worker in workers.items()}
        seen, bandwidths = workers[1].profile(), {n: facts[n].peak.bandwidth for n in counts}
    alone, costs = median(times[1]), costs_of(seen)
    base = predict(costs, 1, 1.0)
    foreseen = {n: base / predict(costs, n, memory_speedups(bandwidths, n)) for n in (*counts, *predicted)}
    rows = [
        Measured(
            config.name, n, facts[n].tokens / median(times[n]), facts[n].flops / median(times[n]) / facts[n].peak.flops,
            alone / median(times[n]), foreseen[n], facts[n].memory, tuple(times[n]),
        )
        for n in counts
    ]
    return rows + [
        Measured(
            config.name, n, facts[1].tokens / alone * foreseen[n], None, foreseen[n], foreseen[n], None, predicted=True,
        )
        for n in predicted
    ]


@dataclass(frozen=True)
class Facts:
    """What a worker knows besides times."""

    tokens: int  # a step
    flops: float  # a step
    memory: int
    peak: Peak


class Worker:
    """A process that trains on request."""

    def __init__(self, config: Config, n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, config, n_threads), daemon=True)
        self._process.start()
        theirs.close()

    def steps(self, n: int) -> float:
        """Seconds that n steps take."""
        return float(self._ask("steps", n))

    def profile(self) -> Profile:
        answer: Profile = self._ask("profile", 5)
        return answer

    def facts(self) -> Facts:
        answer: Facts = self._ask("facts", 0)
        return answer

    def _ask(self, what: str, n: int) -> Any:
        try:
            self._pipe.send((what, n))
            done, answer = self._pipe.recv()
        except (EOFError, BrokenPipeError) as error:
            raise UsageError(
                "bench", "a measuring process that ended", "one that makes steps", "see its message above"
            ) from error
        if not done:
            raise answer
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, config: Config, n_threads: int) -> None:
    """The worker's side: (what, n) comes in, (done, result or error) goes out."""
    with TemporaryDirectory() as folder:
        try:
            config = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, threads=n_threads))
            plugins = build_manager(allow=config.plugins.allow)
            parts = assemble(config, open_run_data(config, plugins, Path(folder)), plugins)
            while True:
                what, n = pipe.recv()
                pipe.send((True, _REQUESTS[what](parts, n)))
        except (EOFError, KeyboardInterrupt):
            return
        except CllmError as error:
            pipe.send((False, error))


def _steps(parts: Assembly, n: int) -> float:
    begin = perf_counter()
    for _ in range(n):
        make_step(parts)
    return perf_counter() - begin


def _facts(parts: Assembly, _: int) -> Facts:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    tokens = parts.config.tokens_per_step
    flops = parts.program.flops_per_token(parts.config.model.block_size) * tokens
    return Facts(tokens, flops, most, measure_peak(parts.n_threads))


_REQUESTS: dict[str, Callable[[Assembly, int], Any]] = {"steps": _steps, "profile": profile, "facts": _facts}
