"""What a resumed run may change: where it ends, how it is watched and on how many threads; no number, and no text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from cllm.checkpoint import Checkpoint, RunFacts
from cllm.config import Config, difference, load_config
from cllm.data.source import OpenData
from cllm.errors import CheckpointError, ConfigError, DataError
from cllm.hooks.plugins import Plugins


def resumed_config(path: Path, wanted: Config, plugins: Plugins) -> Config:
    """`wanted`, completed as the run at `path` was. ConfigError shows what differs from the run and may not."""
    old = load_config(path)
    if old.model.vocab_size is None:  # written before its data was open: no step has been made that could differ
        return wanted
    if wanted.model.vocab_size is None:
        wanted = msgspec.structs.replace(
            wanted, model=msgspec.structs.replace(wanted.model, vocab_size=old.model.vocab_size)
        )
    # Names first: another optimizer cannot take the options of the run's, and its complaint would not say why.
    _refuse([change for change in difference(old, wanted) if change[0].endswith((".name", ".loader"))])
    # A run that is resumed for more steps keeps the schedule that it began with.
    wanted = plugins.complete(wanted, old.schedule.options.get("decay_steps"))
    _refuse(difference(old, wanted))
    return wanted


def _refuse(changes: Sequence[tuple[str, Any, Any]]) -> None:
    if changes:
        raise ConfigError(
            "resume", "; ".join(f"{key} was {before!r}, is {after!r}" for key, before, after in changes[:5]),
            "the values that the run was started with",
            "leave them out, or start a new run with --init-from to use its weights",
        )


def refuse_fewer_steps(n_steps: int, saved: Checkpoint) -> None:
    """ConfigError for an end that lies behind."""
    made = saved.snapshot.step
    if n_steps < made:
        came = f"train.steps = {n_steps}, and the run has made {made} already"
        raise ConfigError("resume", came, f"{made} or more", "leave it out, or ask for more")


class KnowsData(Protocol):
    """A run's facts, or a receipt's."""

    @property
    def data_digest(self) -> str: ...
    @property
    def tokenizer_digest(self) -> str: ...


def refuse_other_data(facts: KnowsData, data: OpenData, who: str) -> None:
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
