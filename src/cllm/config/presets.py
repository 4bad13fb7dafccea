"""Sizes of models by name, from one that a laptop trains in a minute to GPT-2 with 124 million parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cllm.config.convert import choices, shown
from cllm.errors import ConfigError, did_you_mean

SIZES = ("block_size", "n_layer", "n_head", "n_embd")

PRESETS: Mapping[str, tuple[int, int, int, int]] = {
    "tiny": (64, 4, 4, 128),
    "mini": (128, 4, 4, 256),
    "small": (256, 6, 6, 384),
    "medium": (512, 8, 8, 512),
    "gpt2": (1024, 12, 12, 768),
}


def fill_sizes(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the [model] table with the preset's sizes where it gives none itself. Raises ConfigError."""
    preset = model.get("preset")
    if preset is None:
        return dict(model)
    if not isinstance(preset, str) or preset not in PRESETS:
        came = f"[model] preset = {shown(preset)}"
        raise ConfigError("config", came, choices(PRESETS), did_you_mean(str(preset), PRESETS))
    return {**dict(zip(SIZES, PRESETS[preset], strict=True)), **model}
