"""Up to 64 threads on too few cores, under whatever OpenMP was told: no hang, and the same bits.

Engines are made, trained with and thrown away by cycles.py, in processes of their own under a watchdog that prints all
stacks. The default run makes a few of each kind, `pytest -m soak` ten thousand.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.evidence import record

OPENMP = ("OMP_", "GOMP_", "KMP_")
SURROUNDINGS: dict[str, tuple[dict[str, str], list[str]]] = {
    "as it comes": ({}, []),
    "threads that spin while they wait": ({"OMP_WAIT_POLICY": "active"}, []),
    "threads that sleep while they wait": ({"OMP_WAIT_POLICY": "passive"}, []),
    "fewer threads when OpenMP likes": ({"OMP_DYNAMIC": "true"}, []),
    "two threads at the most": ({"OMP_THREAD_LIMIT": "2"}, []),
    "small stacks": ({"OMP_STACKSIZE": "16k"}, []),
    "one core": ({}, ["--one-core"]),
    "one core, threads that spin": ({"OMP_WAIT_POLICY": "active"}, ["--one-core"]),
}


def cycles(name: str, n: int) -> None:
    settings, options = SURROUNDINGS[name]
    quiet = {key: value for key, value in os.environ.items() if not key.startswith(OPENMP)}
    run = subprocess.run(
        [sys.executable, "-m", "tests.race.cycles", str(n), *options], env={**quiet, **settings}, capture_output=True,
        text=True, timeout=120 + n, check=False,
    )
    assert (run.returncode, run.stdout.strip()) == (0, str(n)), run.stderr


needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity to set")
every_kind = pytest.mark.parametrize("name", [
    pytest.param(name, marks=needs_affinity if options else ()) for name, (_, options) in SURROUNDINGS.items()
])


@every_kind
def test_no_cycle_hangs(name: str) -> None:
    cycles(name, 25)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_none_of_ten_thousand_cycles_hangs() -> None:
    begin, n = time.monotonic(), 10_000 // len(SURROUNDINGS)
    for name in SURROUNDINGS:
        cycles(name, n)
    minutes = round((time.monotonic() - begin) / 60)
    record("cycles", cycles=n * len(SURROUNDINGS), kinds=len(SURROUNDINGS), hangs=0, minutes=minutes)


THREAD = """
import threading

found = []

def imports_and_computes():
    from cllm.engine import Engine
    from tests.models import Tree, a_batch, a_model, digest
    program, parameters = a_model("plain")
    found.append(digest(Engine(program, 5, 3, seed=7).gradient(parameters, a_batch(program, 5), Tree()).gradient))

thread = threading.Thread(target=imports_and_computes)
thread.start()
thread.join()
imports_and_computes()
print(*found)
"""


def test_cllm_is_imported_in_a_thread() -> None:
    """And used in it, whose OpenMP threads end with it, and then in the main one."""
    from tests.test_golden import GRADIENTS

    run = subprocess.run([sys.executable, "-c", THREAD], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == [GRADIENTS["plain"]] * 2
