"""What Python hands over: of the kind that is taken, or an error before anything has happened."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import count
from pathlib import Path

from cllm.config import Config
from cllm.errors import UsageError, check_kind
from cllm.hooks.making import check_shape
from cllm.hooks.plugins import Plugins
from cllm.hooks.protocols import StabilityCheck


def check_trainer_arguments(
    config: object, out: object, resume: object, init_from: object, plugins: object, reducer: object, checks: object
) -> None:
    """UsageError, or PluginError for a reducer or a check, unless a Trainer can be made of these."""
    check_kind(UsageError, "Trainer", "config", config, Config, "a Config", "make one with cllm.load_config")
    for name, path in (("out", out), ("resume", resume), ("init_from", init_from)):
        if path is not None:
            check_path("Trainer", name, path)
    if resume is not None and not (out is None and init_from is None):
        raise UsageError("Trainer", "resume with out or init_from", "resume alone", "start a new run instead")
    check_plugins("Trainer", plugins)
    if reducer is not None:
        check_shape("reducer", reducer, "Trainer: reducer")
    wanted = "a list of checks, or None"
    check_kind(UsageError, "Trainer", "checks", checks, list | tuple | None, wanted, "write checks=[mine]")
    for number, check in enumerate(checks if isinstance(checks, list | tuple) else ()):
        check_shape("check", check, f"Trainer: checks[{number}]")


def check_path(who: str, name: str, value: object) -> None:
    """UsageError unless `value` can be the path of something."""
    check_kind(UsageError, who, name, value, str | Path, "a path", 'give one, such as "runs/mine"')
    if "\0" in str(value):
        raise UsageError(who, f"{name} = {value!r}", "a path without zero bytes", "correct it")


def check_plugins(who: str, plugins: object) -> None:
    """UsageError unless `plugins` is what build_manager returns, or None."""
    todo = "gather them with cllm.hooks.manager.build_manager"
    check_kind(UsageError, who, "plugins", plugins, Plugins | None, "Plugins, or None", todo)


def labelled(checks: Sequence[StabilityCheck], taken: Container[str]) -> dict[str, StabilityCheck]:
    """Checks under the names of their classes; a name that is taken, or comes again, is numbered from 2 on."""
    by_label: dict[str, StabilityCheck] = {}
    for check in checks:
        name = type(check).__name__
        labels = (name if number == 1 else f"{name}-{number}" for number in count(1))
        by_label[next(label for label in labels if label not in taken and label not in by_label)] = check
    return by_label
