"""What a resumed run may change: where it ends, how it is watched and on how many threads; never a number in it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cllm.config import Config, difference, load_config
from cllm.errors import ConfigError


def resumed_config(path: Path, wanted: Config) -> Config:
    """The config of the run at `path` with the free keys of `wanted`. ConfigError shows what differs otherwise."""
    old = load_config(path)
    differing = difference(old, wanted)
    if differing:
        lines = "; ".join(f"{key} was {before!r}, is {after!r}" for key, before, after in differing[:5])
        raise ConfigError(
            "resume", lines, "the numeric values that the run was started with",
            "leave them out, or start a new run with --init-from to use its weights",
        )
    return msgspec.structs.replace(wanted, model=old.model, schedule=old.schedule, data=old.data)
