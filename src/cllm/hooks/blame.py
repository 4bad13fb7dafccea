"""Whose code an exception came through: a plugin's failure names the plugin, and only cllm's own is a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Collection
from pathlib import Path

from cllm.errors import PluginError
from cllm.hooks import found
from cllm.hooks.found import Found


def blamed(error: BaseException, arguments: Collection[str] = ()) -> PluginError | None:
    """The error of the plugin in whose code `error`, or else its cause, was raised, or which called what raised it.

    None for no plugin. arguments: those of `-p`.
    """
    plugins = {plugin.package: plugin for plugin in (*found.installed(), *map(found.named, _added(arguments)))}
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        plugin = plugins.get(frame.f_globals.get("__name__", "").partition(".")[0])
        if plugin is not None:
            text = f"{type(error).__name__}: {error}".replace("\n", " ")
            return broken(plugin, f"{text} ({Path(frame.f_code.co_filename).name}:{line})")
    return blamed(error.__cause__, arguments) if error.__cause__ is not None else None


def broken(plugin: Found, came: str) -> PluginError:
    """The error of a plugin that does not work."""
    return PluginError(who(plugin), came, "a plugin that works", f"mend it, or `-p no:{plugin.name}`")


def who(plugin: Found) -> str:
    """A plugin as errors name it."""
    return f"plugin {plugin.name} ({plugin.distribution})"


def _added(arguments: Collection[str]) -> list[str]:
    return [argument for argument in arguments if not argument.startswith("no:")]
