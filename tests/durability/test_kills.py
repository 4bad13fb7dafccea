"""kill -9 at random moments, and on with another number of threads: the bits and the ledger of an undisturbed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durability.test_calls import counted
from tests.evidence import record


@pytest.mark.parametrize("n_kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_kills_change_nothing(n_kills: int, tmp_path: Path) -> None:
    counts = counted("tests.durability.kills", str(n_kills), tmp_path)
    print(counts)
    assert counts["kills"] > 0.9 * n_kills  # else the run was done too soon
    assert n_kills < 100 or counts["in the middle of a save"] > 0  # else no kill met what is hardest
    record("kills", kills=counts["kills"], survived=counts["kills"], torn=counts["in the middle of a save"])
