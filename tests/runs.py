"""Whole runs that take a moment, for tests: their config, how they are trained, the digest in which they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cllm
from cllm import checkpoint

# Text that depends on integers alone, so that digests can be constants.
TEXT = "".join(f"The square of {n} is {n * n}, its cube {n * n * n}.\n" for n in range(400))


def config(folder: Path, *overrides: str) -> Any:
    text = folder / "text.txt"
    text.write_text(TEXT)
    base = {
        "name": "test",
        "model": {"block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16},
        "data": {"path": str(text)},
        "train": {"steps": 12, "batch_size": 5, "eval_every": 6, "eval_batches": 2, "digest_every": 4, "log_every": 4},
        "schedule": {"name": "cosine", "warmup_steps": 2},
        "checkpoint": {"every": 5},
        "sinks": {"console": False},
    }
    return cllm.load_config(None, list(overrides), base)


def train(settings: Any, out: Path, **options: Any) -> list[Any]:
    with cllm.Trainer(settings, out, **options) as trainer:
        return list(trainer)


def leave_half_way(settings: Any, out: Path) -> None:
    """Stop after step 7, two steps behind the newest checkpoint: they will have to be made again."""
    with cllm.Trainer(settings, out) as trainer:
        next(report for report in trainer if report.step == 7)


def finish(settings: Any, out: Path, **options: Any) -> None:
    with cllm.Trainer(settings, resume=out, **options) as trainer:
        assert trainer.state.step == 5
        list(trainer)


def digest_of(run: Path) -> str:
    saved = checkpoint.load_newest(run / "checkpoints")
    assert saved is not None
    return saved.digest
