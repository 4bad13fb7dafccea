"""Plugins examined one by one, each in a Python of its own: one that hangs or crashes there harms nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cllm.errors import CllmError, ConfigError, PluginError
from cllm.hooks import api, found
from cllm.hooks.blame import who
from cllm.hooks.found import Found
from cllm.hooks.hookspecs import PROJECT
from cllm.hooks.plugins import PluginRow, Plugins

SECONDS = 10.0  # after which a plugin counts as hanging
MILLISECONDS = 100.0  # that an import may take: every command waits for it
# What no plugin needs for being listed, and what takes hundreds of milliseconds or of megabytes.
HEAVY = ("numpy", "scipy", "pandas", "torch", "jax", "tensorflow", "pyarrow", "tokenizers", "transformers", "numba")
# Kinds whose parts are made to be looked at: nothing is read or written by that.
MADE = ("initializer", "reducer", "check", "optimizer", "schedule")

CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from cllm.hooks.examination import report
report(sys.argv[2], sys.argv[3])
"""


@dataclass(frozen=True)
class Examined:
    """What was found out about a plugin: the row, and what `cllm plugins doctor` says below it."""

    row: PluginRow
    milliseconds: float | None = None  # that its import took
    problems: tuple[str, ...] = ()  # that make it, or one of its parts, useless
    notes: tuple[str, ...] = ()  # what its author should mend
    kernel_abi: Mapping[str, str] = field(default_factory=dict)  # version of each compiled part that could be opened

    @property
    def is_sound(self) -> bool:
        return self.row.state != "broken" and not self.problems


def examine(candidates: Iterable[tuple[Found, str | None]], own: PluginRow) -> list[Examined]:
    """Examine all plugins; own: the row of cllm's own parts. Candidates come with why they are not wanted, if so."""
    rows = [Examined(own)]
    for candidate, why_not in candidates:
        if why_not is not None:
            rows.append(Examined(_row(candidate, "left out", why_not or None)))
        elif candidate.name != found.BUILTIN:
            rows.append(_apart(candidate, SECONDS))
    return [_with_doubles(one, rows) for one in rows]


def _row(candidate: Found, state: Any, problem: str | None) -> PluginRow:
    return PluginRow(
        candidate.name, candidate.distribution, candidate.version, candidate.location, state, problem=problem
    )


def _with_doubles(one: Examined, rows: Sequence[Examined]) -> Examined:
    """And the parts that another plugin has by the same name: no command but this one goes on then."""
    double = []
    for part in one.row.provides:
        owners = [other.row.distribution for other in rows if part in other.row.provides]
        if len(owners) > 1:
            double.append(f"{part} is in {' and in '.join(owners)}: rename one, or leave a plugin out by -p no:NAME")
    return replace(one, problems=(*one.problems, *double))


def _apart(candidate: Found, seconds: float) -> Examined:
    """Examine a plugin in another process, which is given up after some seconds."""
    name = candidate.name if candidate.is_installed or not candidate.location.endswith(".py") else candidate.location
    with TemporaryDirectory() as folder:
        told = Path(folder) / "report.json"
        command = [sys.executable, "-c", CODE, json.dumps(sys.path), name, str(told)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                timeout=seconds, check=False,
            )
        except subprocess.TimeoutExpired:
            return Examined(_row(candidate, "broken", f"it hangs: its import is not over after {seconds:g} s"))
        if not told.exists():
            ended = f"by signal {-done.returncode}" if done.returncode < 0 else f"with {done.returncode}"
            return Examined(_row(candidate, "broken", f"it ends the process that imports it, {ended}"))
        report = json.loads(told.read_text(encoding="utf-8"))
    row = _row(candidate, report["state"], report["problem"])
    row = replace(row, provides=tuple(report["provides"]), warnings=tuple(report["warnings"]))
    return Examined(
        row, report["milliseconds"], tuple(report["problems"]), tuple(report["notes"]), report["kernel_abi"]
    )


# --- in the other process ---------------------------------------------------------------------------------------


def report(name: str, path: str) -> None:
    """Examine the plugin of `-p name` here, and write what is found to a file."""
    examined = examined_here(name)
    told = {**asdict(examined), **asdict(examined.row)}
    Path(path).write_text(json.dumps(told), encoding="utf-8")


def examined_here(name: str) -> Examined:
    """Import a plugin, gather it alone, and make those of its parts that need no options."""
    candidate = next((one for one in found.installed() if one.name == name), None) or found.named(name)
    before, begin, plugin = set(sys.modules), time.perf_counter(), None
    with suppress(Exception, SystemExit):  # build_manager says it below
        plugin = candidate.load()
    milliseconds = 1000.0 * (time.perf_counter() - begin)
    brought = {module.partition(".")[0] for module in set(sys.modules) - before}
    from cllm.hooks.manager import build_manager

    try:
        plugins = build_manager([name], installed=False)
    except CllmError as error:
        if isinstance(error, api.Outdated):
            return Examined(_row(candidate, "left out", error.came), milliseconds)
        whole = str(error).removeprefix(f"{who(candidate)}: ")
        return Examined(_row(candidate, "broken", whole), milliseconds)
    row = next(row for row in plugins.list() if row.name == candidate.name)
    problems, versions = _parts(plugins, row)
    notes = (*_slow(milliseconds), *_heavy(brought), *_unmarked(plugin), *row.warnings)
    return Examined(row, round(milliseconds, 2), tuple(problems), notes, versions)


def _slow(milliseconds: float) -> list[str]:
    if milliseconds <= MILLISECONDS:
        return []
    return [f"its import takes {milliseconds:.0f} ms, more than {MILLISECONDS:.0f}: every command waits for it"]


def _heavy(brought: Iterable[str]) -> list[str]:
    heavy = [name for name in HEAVY if name in brought]
    return [f'it imports {", ".join(heavy)} to be listed; name parts by "package.module:attribute"'] if heavy else []


def _unmarked(plugin: object) -> list[str]:
    """Functions that look like hooks, and that nobody calls."""
    names = [name for name in dir(plugin) if name.startswith("cllm_") and callable(getattr(plugin, name))]
    unmarked = [name for name in names if not hasattr(getattr(plugin, name), f"{PROJECT}_impl")]
    return [f"nobody calls {name}: mark it with @hookimpl" for name in unmarked]


def _parts(plugins: Plugins, row: PluginRow) -> tuple[list[str], dict[str, str]]:
    """What is wrong with the parts that can be made without options, and the kernel ABI of compiled ones."""
    from cllm.config import Part
    from cllm.opened import abi_of

    problems, versions = [], {}
    for part in row.provides:
        kind, _, name = part.partition(" ")
        if kind not in MADE:
            continue
        try:
            version = abi_of(plugins.make(kind, Part(name)), kind)
        except ConfigError:  # it has options without which there is none
            continue
        except PluginError as error:
            problems.append(f"{part}: {error.came}; expected {error.expected}")
            continue
        if version is not None:
            versions[part] = version
    return problems, versions
