"""The plugins of a command: what its options and the config let in."""

from __future__ import annotations

import argparse
from pathlib import Path

from cllm.config import Config, load_config
from cllm.hooks.manager import build_manager
from cllm.hooks.plugins import Plugins
from cllm.runfolder import RunFolder


def gathered(options: argparse.Namespace, config: Config | None = None) -> Plugins:
    """The plugins that these options let in, and [plugins] allow of a config."""
    return build_manager(
        options.plugins, strict=options.strict_plugins, installed=not options.no_plugins,
        allow=config.plugins.allow if config is not None else None,
    )


def gathered_for(options: argparse.Namespace, run: Path) -> Plugins:
    """The same with the config of a run folder."""
    return gathered(options, load_config(RunFolder.open(run).config_path))
