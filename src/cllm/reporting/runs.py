"""All that is known of a run without its data: its config, the size of its model, its memory, what it went through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cllm.config import Config, load_config, to_mapping
from cllm.config.compare import flatten
from cllm.errors import CllmError
from cllm.hooks.plugins import Plugins
from cllm.machine import default_threads
from cllm.reporting.following import Follower
from cllm.reporting.history import History
from cllm.runfolder import RunFolder
from cllm.sizing import memory_of, programs_of


@dataclass(frozen=True)
class Run:
    """One run of a report."""

    path: Path
    config: Config
    n_parameters: int | None  # None where the model cannot be built here, or its vocabulary is not known yet
    n_threads: int  # for which memory is estimated: the config's, or what this machine has
    memory: int | None  # bytes that it takes, as a dry run says
    history: History


def look_at(path: Path, plugins: Plugins, follower: Follower | None = None) -> Run:
    """Read a run folder, also of a run that goes on. RunFolderError where it is none, ConfigError for its config.

    follower: of its metrics.jsonl, for whoever has read that before.
    """
    folder = RunFolder.open(path, "report")
    config = load_config(folder.config_path)
    history = (follower or Follower(folder.metrics_path)).history()
    n_threads = config.train.threads or default_threads()
    n_parameters = memory = None
    try:
        if config.model.vocab_size is not None:
            whole = plugins.complete(config)  # an earlier version may have known fewer options
            optimizer, reducer = plugins.make("optimizer", whole.optimizer), plugins.make("reducer", whole.reducer)
            evaluates = len(history.evaluated) > 0
            n_parameters = programs_of(whole, plugins, evaluates)[0].n_parameters
            memory = sum(memory_of(whole, plugins, optimizer, reducer, n_threads, evaluates).values())
    except CllmError:  # a plugin that is not installed here: the rest is shown
        pass
    return Run(path, config, n_parameters, n_threads, memory, history)


def labels_of(paths: Sequence[Path]) -> list[str]:
    """A name for each run: its folder's, or where two have the same, the path."""
    names = [path.resolve().name for path in paths]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]


def differences(configs: Sequence[Config]) -> list[tuple[str, list[Any]]]:
    """Each dotted key of which not all configs have the same value, and these values, None where it is absent."""
    flat: list[Mapping[str, Any]] = [dict(flatten(to_mapping(config))) for config in configs]
    keys = sorted({key for one in flat for key in one})
    rows = [(key, [one.get(key) for one in flat]) for key in keys]
    return [(key, values) for key, values in rows if any(value != values[0] for value in values)]
