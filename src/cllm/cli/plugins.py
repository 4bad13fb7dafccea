"""List what is installed, show one part, report what is broken, or write the package of a new plugin."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from cllm.cli.gathering import gathered
from cllm.cli.options import add_json, add_plugin_options, new_folder, print_json
from cllm.errors import UsageError, did_you_mean, one_line
from cllm.hooks.examination import examine
from cllm.hooks.manager import build_manager, candidates
from cllm.hooks.plugins import KNOWN_PACKAGES, PluginRow

EXAMPLE = """\
examples:
  cllm plugins list
  cllm plugins show spike
  cllm plugins doctor --json
  cllm plugins new dataset quotes"""

WORDS = {"list": 0, "doctor": 0, "show": 1, "new": 2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=list(WORDS))
    parser.add_argument("words", nargs="*", metavar="NAME",
                        help="with show: the plugin, or a part such as spike; with new: a kind and a name")
    parser.add_argument("--compiled", action="store_true", help="with new, of a reducer or a check: in C")
    parser.add_argument("--out", type=new_folder, metavar="DIR", help="with new: the folder, instead of cllm-NAME")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    _check(options)
    if options.action == "doctor":
        return _doctor(options)
    rows = gathered(options).list()
    if options.action == "new":
        return _new(options, rows)
    if options.action == "show":
        rows = _called(options.words[0], rows)
    if options.json:
        print_json([asdict(row) for row in rows])
    for row in rows if not options.json else []:
        print(_shown(row))
        for provided in row.provides:
            print(f"    {provided}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    """Examine all plugins; 1 where one is broken, or has a part that is."""
    examined = examine(candidates(options.plugins, not options.no_plugins), build_manager(installed=False).list()[0])
    if options.json:
        print_json([
            {**asdict(one.row), "milliseconds": one.milliseconds, "problems": one.problems, "notes": one.notes,
             "kernel_abi": one.kernel_abi}
            for one in examined
        ])
    for one in examined if not options.json else []:
        print(_shown(one.row) + (f", imported in {one.milliseconds:.0f} ms" if one.milliseconds is not None else ""))
        lines = [f"{part}: kernel ABI {version}" for part, version in one.kernel_abi.items()]
        for line in [*lines, *(f"problem: {text}" for text in one.problems), *(f"note: {text}" for text in one.notes)]:
            print(f"    {one_line(line)}")
    return 0 if all(one.is_sound for one in examined) else 1


def _shown(row: PluginRow) -> str:
    return f"{row.name} {row.version}: {row.state}" + (f" ({one_line(row.problem)})" if row.problem else "")


def _check(options: argparse.Namespace) -> None:
    """Raises UsageError for words that the action does not take."""
    action, words = options.action, options.words
    if len(words) != WORDS[action]:
        came = f"{action} with {' '.join(map(repr, words))}" if words else f"{action} without a name"
        todo = "as in cllm plugins show spike, or cllm plugins new reducer robust"
        raise UsageError("plugins", came, "a name with show, a kind and a name with new, else nothing", todo)
    if action != "new" and (options.compiled or options.out):
        came = f"{action} with {'--compiled' if options.compiled else '--out'}"
        raise UsageError("plugins", came, "it with new alone", "leave it out")


def _new(options: argparse.Namespace, rows: Iterable[PluginRow]) -> int:
    from cllm.newplugin import create, use

    kind, name = options.words
    taken = {row.name for row in rows} | {prefix.strip(".") for prefix in KNOWN_PACKAGES}
    taken |= {part.partition(" ")[2].partition(".")[0] for row in rows for part in row.provides}
    folder = create(kind, name, options.compiled, options.out, taken)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    command = use(kind, name, options.compiled)
    if options.json:
        print_json({"folder": str(folder), "files": files, "use": command})
        return 0
    for file in files:
        print(Path(folder, file))
    print(f"Next: pip install -e {folder}    pytest {folder}    {command}")
    return 0


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
