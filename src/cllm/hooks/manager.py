"""Gathers plugins into a Plugins: finds them, takes in those that work and keeps the broken ones out.

There is no global manager: whoever builds one owns it. What a plugin can do stands in hookspecs.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Literal

import pluggy

from cllm.errors import CllmError, PluginError, UsageError, did_you_mean
from cllm.hooks import found, hookspecs
from cllm.hooks.api import Outdated, check_api
from cllm.hooks.awaiting import awaited
from cllm.hooks.blame import broken, who
from cllm.hooks.calling import Events, implementations, traced
from cllm.hooks.found import Found
from cllm.hooks.making import Registered, problem
from cllm.hooks.plugins import PluginRow, Plugins
from cllm.hooks.specs import (
    CheckSpec,
    CommunicatorSpec,
    DatasetSpec,
    InitializerSpec,
    MetricSpec,
    ModelSpec,
    OptimizerSpec,
    ReducerSpec,
    ScheduleSpec,
    SinkSpec,
    Spec,
    TokenizerSpec,
)

REGISTRY: Mapping[str, type[Spec]] = {
    "cllm_register_datasets": DatasetSpec,
    "cllm_register_tokenizers": TokenizerSpec,
    "cllm_register_models": ModelSpec,
    "cllm_register_initializers": InitializerSpec,
    "cllm_register_reducers": ReducerSpec,
    "cllm_register_stability_checks": CheckSpec,
    "cllm_register_optimizers": OptimizerSpec,
    "cllm_register_schedules": ScheduleSpec,
    "cllm_register_sinks": SinkSpec,
    "cllm_register_metrics": MetricSpec,
    "cllm_register_communicators": CommunicatorSpec,
}


def build_manager(
    plugins: Sequence[str] = (), strict: bool = False, *, installed: bool = True, allow: Sequence[str] | None = None,
    trace: bool = False,
) -> Plugins:
    """Gather cllm's own plugin, those of installed packages and those of `plugins`, the values of `-p`.

    "./file.py" and "package.module" add a plugin, "no:NAME" leaves one out. A plugin that is broken is left
    out and shown so in `Plugins.list()`; it is a PluginError if `plugins` names it, and any is with
    `strict`. Without `installed` nothing of installed packages is imported but what `plugins` names, and with `allow`
    nothing but what these packages bring. One that is written for other hooks (api.py) is left out, too. With `trace`
    each import and each call of a hook is printed, with its milliseconds.

    Raises UsageError for a `-p` that makes no sense and PluginError for two plugins, or two parts of one kind, with
    one name.
    """
    chosen = candidates(plugins, installed, allow)
    _refuse_twins([one for one, why_not in chosen if why_not is None])
    hooks = pluggy.PluginManager(hookspecs.PROJECT)
    hooks.add_hookspecs(hookspecs)
    rows: list[PluginRow] = []
    registered: dict[tuple[str, str], Registered] = {}
    for candidate, why_not in chosen:
        if why_not is not None:
            rows.append(replace(_row(candidate, "left out"), problem=why_not or None))
            continue
        try:
            with awaited(who(candidate), candidate.name) if candidate.name != found.BUILTIN else nullcontext():
                taken = _take_in(hooks, candidate, trace)
        except UsageError:  # there is nothing of this name
            raise
        except Outdated as error:
            if strict or candidate.demanded:
                raise
            rows.append(replace(_row(candidate, "left out"), problem=error.came))
            continue
        except (Exception, SystemExit) as error:
            failed = _broken(candidate, error)
            if strict or candidate.demanded:
                raise failed from error
            rows.append(replace(_row(candidate, "broken"), problem=str(failed).removeprefix(f"{failed.who}: ")))
            continue
        if taken is None:
            continue
        specs, warned = taken
        for spec in specs:
            one = Registered(spec, candidate.name, candidate.distribution)
            _refuse_double(registered.setdefault((spec.kind, spec.name), one), one)
        provides = tuple(f"{spec.kind} {spec.name}" for spec in specs)
        rows.append(replace(_row(candidate, "active"), provides=provides, warnings=warned))
    return Plugins(rows, registered, Events(hooks, trace))


def candidates(
    arguments: Sequence[str], installed: bool = True, allow: Sequence[str] | None = None
) -> list[tuple[Found, str | None]]:
    """Every plugin there is, and why it is not wanted, if so: cllm's own, installed ones by name, then those of -p.

    The arguments are those of build_manager. Raises UsageError.
    """
    without = {argument.removeprefix("no:") for argument in arguments if argument.startswith("no:")}
    asked = dict.fromkeys(argument for argument in arguments if not argument.startswith("no:"))
    all_there = [found.builtin(), *found.installed()]
    names = {candidate.name for candidate in all_there}
    # `-p NAME` of an installed plugin adds nothing, but demands that it works.
    all_there = [replace(one, demanded=one.demanded or one.name in asked) for one in all_there]
    all_there += [found.named(argument) for argument in asked if argument not in names]
    _check_left_out(without, all_there)
    return [(one, _reason(one, without, installed, allow)) for one in all_there]


def _refuse_twins(wanted: Sequence[Found]) -> None:
    for number, one in enumerate(wanted):
        for other in wanted[:number]:
            if one.name == other.name:
                raise _twins(other, one)


def _reason(one: Found, without: set[str], installed: bool, allow: Sequence[str] | None) -> str | None:
    """Why it is left out, in a word or none; None where it is not. UsageError for -p of what may not be loaded."""
    if one.name in without:
        return ""
    if not one.is_installed:
        return None
    if allow is not None and found.normal(one.distribution) not in map(found.normal, allow):
        if one.demanded:
            expected = f"a plugin of {', '.join(allow)}" if allow else "none"
            raise UsageError("-p", f"{one.name} of {one.distribution}", expected, "add it to [plugins] allow")
        return "[plugins] allow does not name its package"
    return None if installed or one.demanded else "--no-plugins"


def _check_left_out(without: set[str], candidates: list[Found]) -> None:
    names = [candidate.name for candidate in candidates if candidate.name != found.BUILTIN]
    for name in sorted(without):
        if name == found.BUILTIN:
            came, expected = f"no:{name}, which has all of cllm's own parts", "a plugin that cllm can do without"
            raise UsageError("-p", came, expected, "name other parts in the config instead, or checks.spike=false")
        if name not in names:
            expected = f"one of {', '.join(names)}" if names else "a plugin that is there; none is but cllm's own"
            raise UsageError("-p", f"no:{name}", expected, did_you_mean(name, names, found.SEE_LIST))


def _registered(hooks: pluggy.PluginManager, plugin: object, name: str) -> tuple[str, ...]:
    """Register a plugin; what is said of its hooks and parameters that will be gone. Its tests are told, too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hooks.register(plugin, name)
    for one in caught:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return tuple(str(one.message) for one in caught)


def _take_in(hooks: pluggy.PluginManager, candidate: Found, trace: bool) -> tuple[list[Spec], tuple[str, ...]] | None:
    """Load and register a plugin; its specs, and what is to be said of it. On any error nothing of it stays.

    None: it was there before.
    """
    load = traced(candidate.load, f"import of plugin {candidate.name}") if trace else candidate.load
    plugin = load()
    check_api(plugin, who(candidate))
    if hooks.is_registered(plugin):  # a module that is named with -p and that an installed package has brought
        return None
    try:
        warned = _registered(hooks, plugin, candidate.name)
        _check_hooks(hooks, plugin, who(candidate))
        return list(_specs(hooks, candidate, trace)), warned
    except BaseException:
        if hooks.is_registered(plugin):
            hooks.unregister(plugin)
        raise


def _check_hooks(hooks: pluggy.PluginManager, plugin: object, plugin_name: str) -> None:
    callers = hooks.get_hookcallers(plugin) or []
    if not callers:
        unmarked = [name for name in dir(plugin) if name.startswith("cllm_") and hasattr(hookspecs, name)]
        todo = f"mark {', '.join(unmarked)} with @hookimpl" if unmarked else "see cllm.hooks.hookspecs"
        raise PluginError(plugin_name, "no hook in it", "functions marked with cllm.hooks.hookimpl", todo)
    for name in (caller.name for caller in callers if not caller.has_spec()):
        known = [hook for hook in vars(hookspecs) if hook.startswith("cllm_")]
        raise PluginError(plugin_name, f"no hook is called {name}", "one of those in cllm.hooks.hookspecs",
                          did_you_mean(name, known))
    for implementation in (one for caller in callers for one in caller.get_hookimpls() if one.plugin is plugin):
        if implementation.wrapper or implementation.hookwrapper:
            came = f"{implementation.function.__name__} is a wrapper"
            raise PluginError(plugin_name, came, "a plain function", "leave out wrapper=True: events change nothing")


def _specs(hooks: pluggy.PluginManager, candidate: Found, trace: bool) -> Iterator[Spec]:
    for hook, kind in REGISTRY.items():
        for plugin, call in implementations(hooks, hook, {}, trace):
            if plugin == candidate.name:
                for spec in call() or ():
                    if not isinstance(spec, kind):
                        came, todo = f"{hook} yields {spec!r}", "yield those, or use another hook"
                        raise PluginError(who(candidate), came, f"{kind.__name__}s", todo)
                    yield spec


def _row(one: Found, state: Literal["active", "left out", "broken"]) -> PluginRow:
    return PluginRow(one.name, one.distribution, one.version, one.location, state)


def _broken(candidate: Found, error: BaseException) -> PluginError:
    """The error of the plugin: its own words where cllm has refused something of it, else the exception."""
    if isinstance(error, PluginError) and error.who == who(candidate):
        return error
    if isinstance(error, CllmError):
        return PluginError(who(candidate), f"{error.who}: {error.came}", error.expected, error.todo)
    return broken(candidate, problem(error))


def _twins(one: Found, other: Found) -> PluginError:
    came = f"two of this name, from {one.distribution} and from {other.distribution}"
    return PluginError(f"plugin {one.name}", came, "one", "uninstall or rename one of them")


def _refuse_double(first: Registered, second: Registered) -> None:
    if first is second:
        return
    what = f"{first.spec.kind} {first.spec.name}"
    came = f"two of this name, from {first.distribution} and from {second.distribution}"
    raise PluginError(what, came, "one", f"rename one, or leave its plugin out: -p no:{second.plugin}")
