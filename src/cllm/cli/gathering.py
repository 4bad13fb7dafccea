"""What a command line says to others: which plugins it lets in, what a loader shall read, and how tokens are made."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cllm.config import Config, load_config, parse_override
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from cllm.runfolder import RunFolder


def gathered(options: argparse.Namespace, config: Config | None = None) -> Plugins:
    """The plugins that these options let in, and [plugins] allow of a config."""
    return build_manager(
        options.plugins, strict=options.strict_plugins, installed=not options.no_plugins,
        allow=config.plugins.allow if config is not None else None, trace=options.trace_plugins,
    )


def gathered_for(options: argparse.Namespace, run: Path) -> Plugins:
    """The same with the config of a run folder."""
    return gathered(options, load_config(RunFolder.open(run).config_path))


def loader_options(overrides: list[str], source: list[str]) -> dict[str, Any]:
    """The options of a loader by --set, and what it shall read, if that is said. Raises ConfigError."""
    given = _parsed(overrides)
    if source:
        given["source"] = source[0] if len(source) == 1 else source
    return given


def tokenizer_options(overrides: list[str], vocab_size: int | None) -> dict[str, Any]:
    """The options of a tokenizer by --tokenizer-set and --vocab-size. Raises ConfigError."""
    given = _parsed(overrides)
    if vocab_size is not None:
        given["vocab_size"] = vocab_size
    return given


def _parsed(overrides: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for override in overrides:
        given |= parse_override(override)
    return given
