"""Workers, seen from the process that measures; rounds; the size of an installation."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import installed
from benchmarks.process import Run, Worker, WorkerEnded
from benchmarks.rounds import MOST, QUIET, measure

SPEAKER = """
import json, sys
print(json.dumps({"description": "one that counts"}), flush=True)
for line in sys.stdin:
    n = int(line)
    if n == 9:
        sys.exit(3)
    print(json.dumps({"seconds": 0.5 * n, "busy": 0.25, "found": list(range(n))}), flush=True)
"""


def speaker(text: str = SPEAKER) -> Worker:
    return Worker([sys.executable, "-c", text], os.environ)


def test_a_worker_has_made_a_step_and_makes_more_on_request() -> None:
    with speaker() as worker:
        assert worker.description == "one that counts"
        assert worker.first.found == [0] and worker.start_seconds > 0.0
        run = worker.run(4)
        assert (run.seconds, run.busy, run.found) == (2.0, 0.25, [0, 1, 2, 3])
        assert run.others >= 0.0
        if sys.platform == "linux":
            assert (worker.memory or 0) > 1_000_000


def test_one_that_ends_says_so() -> None:
    with pytest.raises(WorkerEnded, match="ended with 7"), speaker("raise SystemExit(7)"):
        pass
    with speaker() as worker, pytest.raises(WorkerEnded, match="ended with 3"):
        worker.run(9)


class Scripted(Worker):
    """One whose runs are given: how much others did in each."""

    def __init__(self, others: Sequence[float]) -> None:
        self.others, self.n = list(others), 0

    def run(self, n_steps: int) -> Run:
        self.n += 1
        return Run(float(self.n), 1.0, self.others[(self.n - 1) % len(self.others)], [])


def test_a_round_counts_where_others_left_every_side_alone() -> None:
    quiet, busy = 0.0, 2 * QUIET
    rounds = measure([(Scripted([quiet, busy, quiet]), 1), (Scripted([quiet, quiet, busy, quiet]), 1)], 2)
    assert [tuple(run.seconds for run in runs) for runs in rounds.runs] == [(1.0, 1.0), (4.0, 4.0)]
    assert (rounds.disturbed, rounds.quiet) == (2, True)


def test_all_rounds_count_where_the_machine_never_was_quiet() -> None:
    rounds = measure([(Scripted([2 * QUIET]), 1)], 3)
    assert (len(rounds.runs), rounds.disturbed, rounds.quiet) == (MOST * 3, 0, False)


def test_an_installation_is_a_distribution_and_all_that_it_needs() -> None:
    names = {installed.canonical(one.name) for one in installed.with_needs("cllm")}
    assert {"cllm", "numpy", "pluggy", "msgspec", "safetensors"} <= names
    assert "torch" not in names and "transformers" not in names  # an extra's
    numpy = installed.installed_size("numpy")
    assert 1_000_000 < numpy < installed.installed_size("cllm")


def test_names_of_projects_have_one_form() -> None:
    assert {installed.canonical(name) for name in ("typing_extensions", "Typing-Extensions", "typing.extensions")} == {
        "typing-extensions"
    }


class Needy:
    requires = ("a>=1", "b_c ; python_version > '3'", 'd; extra == "e"', "f[x]<2")


def test_extras_are_not_needed() -> None:
    one: Any = Needy()
    assert list(installed.needs(one)) == ["a", "b-c", "f"]


def test_sides_start_in_the_project_s_folder(tmp_path: Path) -> None:
    with speaker(f"open({str(tmp_path / 'here')!r}, 'w').write(__import__('os').getcwd())\n{SPEAKER}"):
        assert (Path((tmp_path / "here").read_text()) / "benchmarks").is_dir()
