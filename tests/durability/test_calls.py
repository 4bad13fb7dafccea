"""Every call of a save x a kill, a full disk, a broken disk, a write that lies: step N or N-1 loads, never neither."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evidence import record
from tests.layers import ROOT


def counted(module: str, *words: str | Path) -> dict[str, int]:
    """What the program printed; it forks, so it has a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


@pytest.mark.parametrize(
    ("subject", "least"), [("states", 20), pytest.param("run", 30, marks=pytest.mark.slow)]
)
def test_a_fault_at_any_call_costs_at_most_the_last_step(subject: str, least: int, quick: Path) -> None:
    counts = counted("tests.durability.calls", subject, quick)
    assert set(counts) == {"kill", "ENOSPC", "EIO", "lie", "kill in place of a broken one"}
    for fault, n_calls in counts.items():
        assert n_calls > (5 if fault == "lie" else least), fault  # else most calls went another way than through os
    n_met = sum(counts.values())
    record("io_faults", injected=n_met, survived=n_met, by="Python's calls")
