"""Calls into plugins, any of which may fail: a check's failure is Abort, a sink's or listener's is its own end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter
from types import GeneratorType
from typing import Any, TypeVar

import pluggy

from cllm import env
from cllm.errors import one_line
from cllm.hooks.making import problem
from cllm.hooks.protocols import PHASES, Sink, StabilityCheck
from cllm.hooks.remembering import bring_back, memory_of, remembering
from cllm.hooks.reports import GradientView, StepReport, UpdatedView, UpdateView
from cllm.hooks.verdicts import Abort, Clip, Decision, DropShards, Failed, LowerLR, Ok, SkipStep, Verdict, decide
from cllm.opened import OpenedCheck, open_check

T = TypeVar("T")

# What a phase cannot have any more: the gradient is not computed again before an update, nor one undone after it.
TOO_LATE = {"before_update": (DropShards,), "after_update": (DropShards, SkipStep, LowerLR, Clip)}


class Judges:
    """The checks of a run by label, asked phase by phase. Every check sees every step, whatever others answer.

    What they answered to a step adds up to one decision. Where it ends in an Abort, and where the gradient is computed
    again, they forget it: what is saved has never met its batch.
    """

    def __init__(self, checks: Mapping[str, StabilityCheck]) -> None:
        self._checks = dict(checks)
        self._remembering = remembering(checks)
        self._phases = {
            phase: [(label, check, getattr(check, phase)) for label, check in checks.items() if hasattr(check, phase)]
            for phase in PHASES
        }
        self._phases["after_scan"] = [
            (label, check, partial(_after_scan, opened, call))
            for label, check, call in self._phases["after_scan"]
            if (opened := open_check(check, f"check {label}"))
        ]

    def after_gradient(self, view: GradientView) -> Decision:
        """Begin to judge a step: its shards one by one, then the whole."""
        self._memories = {label: _tried(check, memory_of, check) for label, check in self._remembering.items()}
        self._verdicts = _failures(self._memories)
        if self._phases["after_shard"]:
            for shard in view.shards():
                self._ask("after_shard", shard)
        self._ask("after_reduction", view)
        return self._decided("after_scan", view)

    def before_update(self, view: UpdateView) -> Decision:
        """Go on with a step that shall be made."""
        return self._decided("before_update", view) if self._phases["before_update"] else decide(self._verdicts)

    def after_update(self, view: UpdatedView) -> Decision:
        """Judge an update that has been made: it stands, or the run goes back, or ends."""
        self._verdicts = []
        self._ask("after_update", view)
        return decide(self._verdicts)

    def _ask(self, phase: str, view: object) -> None:
        for label, check, call in self._phases[phase]:
            verdict: Any = _tried(check, call, view)
            if type(verdict) is Ok:  # nearly always
                continue
            if isinstance(verdict, TOO_LATE.get(phase, ())):
                verdict = Failed(f"answered {type(verdict).__name__} in {phase}, which comes too late")
            self._verdicts.append((label, verdict))

    def _decided(self, phase: str, view: object) -> Decision:
        self._ask(phase, view)
        decision = decide(self._verdicts)
        if decision.kind not in ("abort", "drop"):
            return decision
        known = {label: memory for label, memory in self._memories.items() if isinstance(memory, bytes)}
        forgotten = {
            label: _tried(self._checks[label], bring_back, self._remembering[label], memory)
            for label, memory in known.items()
        }
        return decide([*self._verdicts, *_failures(forgotten)])


def _after_scan(compiled: OpenedCheck, call: Callable[..., Verdict], view: GradientView) -> Verdict:
    """What a compiled check says of what its scan has found."""
    return Ok() if compiled.if_nonfinite and view.finite else call(view, view.scan(compiled))


def _tried(check: object, call: Callable[..., T], *arguments: object) -> T | Abort:
    try:
        return call(*arguments)
    except Exception as error:
        return Failed(f"the check failed: {problem(error, check)}")


def _failures(results: Mapping[str, object]) -> list[tuple[str, Verdict]]:
    return [(label, result) for label, result in results.items() if isinstance(result, Abort)]


class Sinks:
    """The sinks of a run by label. One that raises is closed and left out, with a warning; the run goes on."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = dict(sinks)

    def emit(self, report: StepReport) -> None:
        """Hand the report to every sink."""
        for label, sink in list(self._sinks.items()):
            if not _succeeds(lambda: sink.emit(report), f"sink {label}"):  # noqa: B023 - called at once
                del self._sinks[label]
                _succeeds(sink.close, f"sink {label}")

    def close(self) -> None:
        """Close every sink; closing again does nothing."""
        while self._sinks:
            label, sink = self._sinks.popitem()
            _succeeds(sink.close, f"sink {label}")


class Events:
    """The event hooks of all plugins. One that raises hears no more events; the run goes on."""

    def __init__(self, plugins: pluggy.PluginManager, trace: bool = False) -> None:
        self._plugins, self._trace = plugins, trace
        self._silent: set[str] = set()

    def fire(self, event: str, **values: Any) -> None:
        """Call the hook `event` of every plugin with those of `values` that it takes."""
        for plugin, call in implementations(self._plugins, event, values, self._trace):
            if plugin not in self._silent and not _succeeds(call, f"{event} of plugin {plugin}"):
                self._silent.add(plugin)


def implementations(
    plugins: pluggy.PluginManager, hook: str, values: Mapping[str, Any], trace: bool = False
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield (name of the plugin, its implementation of `hook` bound to `values`), one call each.

    pluggy's own call of all at once stops at the first that raises; here each is on its own.
    trace: print each call, as CLLM_TRACE_PLUGINS=1 does for all, with its milliseconds.
    """
    for implementation in reversed(getattr(plugins.hook, hook).get_hookimpls()):
        arguments = [values[name] for name in implementation.argnames]
        call = _bound(implementation.function, arguments)
        name = implementation.plugin_name
        yield name, traced(call, f"{hook} of plugin {name}") if trace or env.trace_plugins() else call


def warn(*messages: str) -> None:
    """Print warnings to standard error, so that nothing that reads standard output meets them."""
    for message in messages:
        print(f"cllm: warning: {one_line(message)}", file=sys.stderr)


def _succeeds(call: Callable[[], object], who: str) -> bool:
    try:
        call()
    except Exception as error:
        warn(f"{who} failed and is left out from here on: {problem(error)}")
        return False
    return True


def _bound(function: Callable[..., Any], arguments: list[Any]) -> Callable[[], Any]:
    return lambda: function(*arguments)


def traced(call: Callable[[], Any], what: str) -> Callable[[], Any]:
    """A call that prints what it is and how long it took, also where it fails; a generator is run to its end."""

    def timed() -> Any:
        begin = perf_counter()
        try:
            result = call()
            return list(result) if isinstance(result, GeneratorType) else result
        finally:
            print(f"cllm: trace: {what} {1000.0 * (perf_counter() - begin):.2f} ms", file=sys.stderr)

    return timed
