"""List what is installed, show one part, or report what is broken."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict, replace

from cllm.cli.gathering import gathered
from cllm.cli.options import add_json, add_plugin_options, print_json
from cllm.errors import UsageError, did_you_mean
from cllm.hooks.plugins import PluginRow

EXAMPLE = """\
examples:
  cllm plugins list
  cllm plugins show spike
  cllm plugins doctor --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "show", "doctor"])
    parser.add_argument("name", nargs="?", help="with show: the plugin, or a part such as spike")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    if (options.action == "show") != (options.name is not None):
        came = "show without a name" if options.name is None else f"{options.action} with {options.name!r}"
        raise UsageError("plugins", came, "a name with show, and with nothing else", "as in cllm plugins show spike")
    plugins = gathered(options)
    rows = plugins.list()
    if options.action == "show":
        rows = _called(options.name, rows)
    if options.json:
        print_json([asdict(row) for row in rows])
    for row in rows if not options.json else []:
        print(f"{row.name} {row.version}: {row.state}" + (f" ({row.problem})" if row.problem else ""))
        if options.action != "doctor":
            for provided in row.provides:
                print(f"    {provided}")
    broken = any(row.state == "broken" for row in rows)
    return 1 if options.action == "doctor" and broken else 0


def _called(name: str, rows: Iterable[PluginRow]) -> tuple[PluginRow, ...]:
    """The plugins called `name`, whole; and of the others the parts called so. Raises UsageError if there are none."""
    found, names = [], dict[str, None]()
    for row in rows:
        parts = tuple(part for part in row.provides if name in _names_of(part))
        if name in (row.name, row.distribution):
            found.append(row)
        elif parts:
            found.append(replace(row, provides=parts))
        names |= dict.fromkeys((row.name, row.distribution, *(one for part in row.provides for one in _names_of(part))))
    if not found:
        expected = "a plugin or a part that `cllm plugins list` shows"
        raise UsageError("plugins", f"nothing is called {name!r}", expected, did_you_mean(name, names))
    return tuple(found)


def _names_of(part: str) -> tuple[str, str]:
    """"reducer tree" may be asked for by its name alone."""
    return part, part.partition(" ")[2]
