"""Saving under kill -9: whatever the moment, a whole checkpoint is found afterwards, and no rubbish stays."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cllm import generations
from cllm.checkpoint import load_newest, save
from tests.saving import FACTS, state_at

ROOT = Path(__file__).parent.parent


def child(mode: str, folder: Path) -> subprocess.Popen[str]:
    paths = [str(ROOT), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash_child", mode, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def kill_after(folder: Path, seconds: float) -> None:
    with child("loop", folder) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(seconds)
        process.kill()


@pytest.mark.parametrize("n_kills", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_after_kills_at_random_moments_the_newest_is_a_state_that_was_saved(n_kills: int, tmp_path: Path) -> None:
    moments = random.Random(20)
    last, n_torn = 0, 0
    for _ in range(n_kills):
        kill_after(tmp_path, moments.uniform(0.0, 0.1))
        n_torn += any(tmp_path.glob(".tmp-*"))
        newest = load_newest(tmp_path)
        if newest is None:  # killed before the first save was done
            assert last == 0
            continue
        assert newest.warnings == ()
        assert newest.digest == state_at(newest.snapshot.step).digest()
        assert newest.snapshot.step >= last
        last = newest.snapshot.step
    assert last > 0
    assert n_torn > 0  # else no kill came in the middle of a save, and nothing was tested
    generations.remove_temporaries(tmp_path)
    assert not list(tmp_path.glob(".*"))
    save(tmp_path, state_at(last + 1), FACTS)  # kills just before the oldest goes leave more, until a save is whole
    assert len(generations.generations(tmp_path)) == 3


def test_a_kill_at_any_system_call_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    with child("enumerate", tmp_path) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    plain, replacing = map(int, out.split())
    assert plain > 25  # five files of a write and an fsync each, the folders, removing an old one
    assert replacing > 25
