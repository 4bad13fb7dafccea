"""Every system call of a save x a kill, a full disk, a broken disk, a write that lies, injected by strace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.durability.test_calls import counted
from tests.evidence import record

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def strace() -> None:
    if shutil.which("strace") is None:
        give_up = pytest.fail if os.environ.get("CLLM_EXPECT_STRACE") == "1" else pytest.skip
        give_up("strace is not installed: apt-get install strace")


def test_a_fault_at_any_system_call_costs_at_most_the_last_step(quick: Path) -> None:
    counts: dict[str, int] = {}
    for what in ("states", "run"):
        (quick / what).mkdir()
        for fault, n in counted("tests.durability.traced", what, quick / what).items():
            counts[fault] = counts.get(fault, 0) + n
    assert set(counts) == {"kill", "EIO", "ENOSPC", "lie"}
    print(counts)
    record("io_faults", injected=sum(counts.values()), survived=sum(counts.values()), by="system calls", **counts)
