"""Kills a run at random moments, again and again, and lets it go on with another number of threads.

    python -m tests.durability.kills N FOLDER

Run by test_kills.py in a process of its own, from which the runs are forked: to start one takes a moment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cllm
from cllm import atomic
from cllm.hooks.manager import build_manager
from cllm.verifying import verify
from tests.durability.disturbed import in_child
from tests.runs import config, digest_of, train

STEPS_A_KILL = 12


def settings(folder: Path, n_kills: int, n_threads: int, save_every: int = 3) -> Any:
    return config(
        folder, f"train.steps={STEPS_A_KILL * n_kills}", f"checkpoint.every={save_every}", "train.digest_every=2",
        f"train.eval_every={4 * n_kills}", f"train.threads={n_threads}",
    )


def go_on(settings: Any, run: Path, ready: int) -> int:
    """Begin or resume, tell that steps are about to be made, and make them."""
    there = (run / "config.toml").exists()
    with cllm.Trainer(settings, None if there else run, resume=run if there else None) as trainer:
        os.write(ready, b"!")
        list(trainer)
    return 0


def kill_one(settings: Any, run: Path, seconds: float) -> bool:
    """Whether it was killed before it was done."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(go_on(settings, run, tell))
    os.close(tell)
    os.read(ready, 1)
    os.close(ready)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def main(n_kills: int, folder: Path) -> None:
    chance = random.Random(n_kills)
    train(settings(folder, n_kills, 1, save_every=0), folder / "whole")
    n_killed = n_torn = 0
    for _ in range(n_kills):
        n_threads = chance.choice((1, 2, 3))
        n_killed += kill_one(settings(folder, n_kills, n_threads), folder / "run", chance.uniform(0.0, 0.08))
        n_torn += any((folder / "run" / "checkpoints").glob(f"{atomic.TEMPORARY}*"))
        problems = verify(folder / "run", build_manager()).problems
        assert not problems, [str(problem) for problem in problems]
    ready = os.open(os.devnull, os.O_WRONLY)
    assert in_child(lambda: go_on(settings(folder, n_kills, 1), folder / "run", ready)) == 0
    assert digest_of(folder / "run") == digest_of(folder / "whole"), "other bits"
    ledgers = [(folder / name / "ledger.jsonl").read_bytes() for name in ("run", "whole")]
    assert ledgers[0] == ledgers[1], "another ledger"
    assert not list((folder / "run").rglob(f"{atomic.TEMPORARY}*")), "half-written files stay"
    print(json.dumps({"kills": n_killed, "in the middle of a save": n_torn}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
