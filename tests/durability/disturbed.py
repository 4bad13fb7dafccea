"""What is disturbed while it saves, each time in a forked child, and what is then found of it; no test itself.

Three steps are behind it; the fourth is saved, and an old checkpoint removed, while something goes wrong. Afterwards
the state of step 3 or 4 must be there, and lead on as if nothing had been.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cllm
from cllm import atomic, checkpoint, generations, ledger
from cllm.errors import CllmError
from cllm.hooks.manager import build_manager
from cllm.verifying import verify
from tests.runs import config, train
from tests.saving import FACTS, state_at

# Called just before; what it returns says whether anything has gone wrong.
Disturbance = Callable[[], Callable[[], bool]]
DIED, REFUSED, MET = 9, 3, 10  # exit codes: as if killed; with an error of cllm's; done though something went wrong
BEFORE, LAST = 3, 5


def settings(folder: Path) -> Any:
    return config(
        folder, f"train.steps={LAST}", "checkpoint.every=1", "train.digest_every=1", "train.eval_every=0",
        "train.threads=1",
    )


class States:
    """Checkpoints alone, of a state that takes no time to make."""

    def __init__(self, folder: Path) -> None:
        self.run, self._template = folder / "run", folder / "template"
        self._template.mkdir()
        for step in range(1, BEFORE + 1):
            checkpoint.save(self._template, state_at(step), FACTS)

    def begin(self, broken: bool = False) -> None:
        """The folder as after step 3; broken: a checkpoint of step 4 that does not verify is in its way."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self._template, self.run)
        if broken:
            shutil.copytree(self.run / "step-00000003", self.run / "step-00000004")

    def step(self, disturb: Disturbance, when_it_stops: Callable[[int], None] | None = None) -> int:
        """Save step 4 in a child; its exit code."""

        def save() -> object:
            return checkpoint.save(self.run, state_at(BEFORE + 1), FACTS)

        return in_child(lambda: disturbed(disturb, save), when_it_stops)

    def refuse_losses(self) -> None:
        """AssertionError unless the newest checkpoint is whole, and what is half-written goes at the next start."""
        self._look()
        generations.remove_temporaries(self.run)
        self._look()
        assert not list(self.run.glob(".*")), "half-written files stay"

    def _look(self) -> None:
        newest = checkpoint.load_newest(self.run)
        assert newest is not None and newest.snapshot.step in (BEFORE, BEFORE + 1), newest
        assert newest.digest == state_at(newest.snapshot.step).digest()


class Run:
    """A whole run: step, ledger, metrics, checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run, self._template = folder, folder / "run", folder / "template"
        # In this process, so that children need not import what a run takes: that would be most of their time.
        train(settings(folder), folder / "whole")
        with cllm.Trainer(settings(folder), self._template) as trainer:
            next(report for report in trainer if report.step == BEFORE)
        self._digests = {record.step: record.digest for record in ledger.read(folder / "whole" / "ledger.jsonl")}

    def begin(self, broken: bool = False) -> None:
        """The run as after step 3; broken: a checkpoint of step 4 that does not verify is in its way."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self._template, self.run)
        if broken:
            shutil.copytree(self.run / "checkpoints/step-00000003", self.run / "checkpoints/step-00000004")

    def step(self, disturb: Disturbance, when_it_stops: Callable[[int], None] | None = None) -> int:
        """Make step 4 in a child; its exit code."""

        def make() -> int:
            trainer = cllm.Trainer(settings(self.folder), resume=self.run)
            reports = iter(trainer)

            def save() -> None:
                with trainer:
                    next(reports)

            return disturbed(disturb, save)

        return in_child(make, when_it_stops)

    def refuse_losses(self) -> None:
        """AssertionError unless the newest checkpoint is whole, and the run goes on from it as if nothing had been."""
        newest = checkpoint.load_newest(self.run / "checkpoints")
        assert newest is not None, "no checkpoint is left"
        step = newest.snapshot.step
        assert step in (BEFORE, BEFORE + 1) and newest.digest == self._digests[step], f"a state of step {step}"
        assert in_child(self._finish) == 0, "the run does not go on"
        strays = [str(path) for path in self.run.rglob(f"{atomic.TEMPORARY}*")]
        assert not strays, f"half-written files stay: {strays}"
        assert len(list((self.run / "checkpoints").iterdir())) == 3
        for name in ("ledger.jsonl", "checkpoints/step-00000005/model.safetensors"):
            assert (self.run / name).read_bytes() == (self.folder / "whole" / name).read_bytes(), f"another {name}"
        # Reports are not read back, one a step would cost too much: one that the disk has lied about is found so.
        problems = [str(problem) for problem in verify(self.run, build_manager()).problems]
        assert all(problem.startswith("metrics.jsonl: line 4") for problem in problems), problems

    def _finish(self) -> int:
        with cllm.Trainer(settings(self.folder), resume=self.run) as trainer:
            list(trainer)
        return 0


def disturbed(disturb: Disturbance, job: Callable[[], object]) -> int:
    """An exit code that says how the job ended."""
    has_met = disturb()
    try:
        job()
    except CllmError:
        return REFUSED
    return MET if has_met() else 0


def in_child(job: Callable[[], int], when_it_stops: Callable[[int], None] | None = None) -> int:
    """The exit code of a forked child that does the job; 1, with a traceback on standard error, where it raises.

    when_it_stops: is told its number when it has stopped itself, and lets it go on. This process must have run no
    kernel on several threads, nor may it have Python threads.
    """
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = job()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    while True:
        _, status = os.waitpid(child, os.WUNTRACED if when_it_stops else 0)
        if when_it_stops is None or not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        when_it_stops(child)
