"""List what is installed, show one part, or report what is broken."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from cllm.cli.options import add_json, add_plugin_options, print_json
from cllm.hooks.manager import build_manager

EXAMPLE = """\
examples:
  cllm plugins list
  cllm plugins doctor --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "show", "doctor"])
    parser.add_argument("name", nargs="?", help="with show: the part or plugin")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    plugins = build_manager(options.plugins, strict=options.strict_plugins)
    rows = plugins.list()
    if options.action == "show":
        rows = tuple(
            row for row in rows if options.name in (row.name, row.distribution) or options.name in row.provides
        )
    if options.json:
        print_json([asdict(row) for row in rows])
    for row in rows if not options.json else []:
        print(f"{row.name} {row.version}: {row.state}" + (f" ({row.problem})" if row.problem else ""))
        if options.action != "doctor":
            for provided in row.provides:
                print(f"    {provided}")
    broken = any(row.state == "broken" for row in rows)
    return 1 if not rows or (options.action == "doctor" and broken) else 0
