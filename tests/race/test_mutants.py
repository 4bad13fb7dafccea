"""The table of seeded races has its places in the sources; tools/mutants.py runs them, in environments of tox."""

from __future__ import annotations

import pytest

from tests.layers import SOURCES
from tests.race.mutants import MUTANTS, SHORT, Mutant
from tools.sanitizer import ANNOUNCED, Outcome


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_has_its_place(mutant: Mutant) -> None:
    path = SOURCES / "cllm" / mutant.file
    text = path.read_text(encoding="utf-8")
    for old, new in mutant.changes:
        assert old != new
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    assert (path.suffix == ".py") == (mutant.kernels == ())
    for kernel in mutant.kernels:
        assert (SOURCES / "cllm" / "_kernels" / f"{kernel}.pyx").exists()


def test_there_are_enough() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
    assert len(SHORT) == 4 and {kernel for mutant in SHORT for kernel in mutant.kernels} == {"executor"}


def test_a_run_that_archer_has_not_heard_of_is_void() -> None:
    assert Outcome(0, "all bits are right\n", []).is_void
    assert not Outcome(0, f"{ANNOUNCED}, supplying OpenMP synchronization semantics\nall bits are right\n", []).is_void
