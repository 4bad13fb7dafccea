"""What a resumed run may change: where it ends, how it is watched and on how many threads; no number, and no text."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cllm.checkpoint import Checkpoint, RunFacts
from cllm.config import Config, difference, load_config
from cllm.data.source import OpenData
from cllm.errors import CheckpointError, ConfigError, DataError
from cllm.hooks.plugins import Plugins


def resumed_config(path: Path, wanted: Config, plugins: Plugins) -> Config:
    """`wanted`, completed as the run at `path` was. ConfigError shows numeric keys that differ from the run's."""
    old = load_config(path)
    if old.model.vocab_size is None:  # written before its data was open: no step has been made that could differ
        return wanted
    if wanted.model.vocab_size is None:
        wanted = msgspec.structs.replace(
            wanted, model=msgspec.structs.replace(wanted.model, vocab_size=old.model.vocab_size)
        )
    # A run that is resumed for more steps keeps the schedule that it began with.
    wanted = plugins.complete(wanted, old.schedule.options.get("decay_steps"))
    differing = difference(old, wanted)
    if differing:
        lines = "; ".join(f"{key} was {before!r}, is {after!r}" for key, before, after in differing[:5])
        raise ConfigError(
            "resume", lines, "the numeric values that the run was started with",
            "leave them out, or start a new run with --init-from to use its weights",
        )
    return wanted


def refuse_other_data(facts: RunFacts, data: OpenData, who: str) -> None:
    """DataError if text or tokenizer are not those of the run that a checkpoint tells of."""
    for what, was, now in (
        ("tokenizer", facts.tokenizer_digest, data.tokenizer_digest), ("text", facts.data_digest, data.digest),
    ):
        if was != now:
            raise DataError(
                who, f"the {what} has changed: its digest is {now[:16] or 'unknown'}, and was {was[:16] or 'unknown'}",
                f"the {what} that the run was trained on",
                "bring it back, or start a new run with --init-from to use the weights",
            )


def refuse_other_numerics(saved: Checkpoint, now: RunFacts) -> None:
    """CheckpointError if this cllm would go on with other numbers than the one that saved."""
    for name in ("numerics_version", "n_shards"):
        was, computed = getattr(saved.facts, name), getattr(now, name)
        if was != computed:
            raise CheckpointError(
                "resume", f"{name} {was} in {saved.path}", f"{computed}, as this cllm computes",
                "resume with the version of cllm that began the run, or start a new one with --init-from",
            )
