"""The configuration of a run: TOML to typed values and back, with errors that say what to do.

Reading order: schema (what there is to set), presets, load (files and overrides), plain (what can be
written back), build (tables to values), rules (values that make no run together), locate (paths that hold
from any folder), compare (what may change on resume), convert (one table to one struct).
"""

from __future__ import annotations

from cllm.config.build import from_mapping
from cllm.config.compare import FREE_ON_RESUME, NUMERIC_KEYS, difference
from cllm.config.convert import to_struct
from cllm.config.load import load_config, parse_override, to_mapping, to_toml
from cllm.config.locate import located
from cllm.config.presets import PRESETS
from cllm.config.schema import (
    FAMILY_OPTIONS,
    CheckpointConfig,
    Config,
    DataConfig,
    DistConfig,
    MixturePart,
    ModelConfig,
    Part,
    TrainConfig,
)

__all__ = [
    "FAMILY_OPTIONS",
    "FREE_ON_RESUME",
    "NUMERIC_KEYS",
    "PRESETS",
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "DistConfig",
    "MixturePart",
    "ModelConfig",
    "Part",
    "TrainConfig",
    "difference",
    "from_mapping",
    "load_config",
    "located",
    "parse_override",
    "to_mapping",
    "to_struct",
    "to_toml",
]
