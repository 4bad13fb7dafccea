"""What a resumed run may change: where it ends, how it is watched and on how many threads; never a number in it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cllm.config import Config, difference, load_config
from cllm.errors import ConfigError
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
