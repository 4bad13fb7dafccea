"""Write a page to look at runs with: curves, what checks decided, in what configs differ. It needs no network."""

from __future__ import annotations

import argparse
from pathlib import Path

from cllm import atomic
from cllm.cli.gathering import gathered_for
from cllm.cli.options import add_plugin_options
from cllm.errors import RunFolderError
from cllm.reporting import look_at, page

EXAMPLE = """\
examples:
  cllm report runs/demo-1
  cllm report runs/demo-1 runs/demo-2 --out both.html"""

NAME = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run folder; runs that go on are no matter")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help=f"the page to write; left out, {NAME} in the run folder, or here for several runs")
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    text = page([look_at(path, gathered_for(options, path)) for path in options.runs])
    target: Path = options.out or (options.runs[0] / NAME if len(options.runs) == 1 else Path(NAME))
    with atomic.disk_errors(RunFolderError, "report", target):
        atomic.write_file(target, text.encode(errors="replace"))  # a folder's name need not be Unicode
    print(f"report: {target}")
    return 0
