"""Look whether a run, prepared data or a token file is as it was written. Exit code 1 where it is not."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from cllm.cli.gathering import gathered
from cllm.cli.options import add_json, add_plugin_options, print_json
from cllm.errors import count
from cllm.hooks.calling import warn
from cllm.verifying import Report, verify

EXAMPLE = """\
examples:
  cllm verify runs/squad-1
  cllm verify data/squad"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="RUN|DATA", help="a run folder, prepared data, or a token file")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    report = verify(options.path, gathered(options))
    if options.json:
        print_json({
            "path": str(report.path), "kind": report.kind, "sound": not report.problems, "counts": report.counts,
            "problems": [asdict(problem) for problem in report.problems],
            "notes": [asdict(note) for note in report.notes],
        })
    else:
        warn(*map(str, report.notes))
        for problem in report.problems:
            print(problem)
        print(f"{options.path}: {count(len(report.problems), 'problem')}" if report.problems else _praise(report))
    return 1 if report.problems else 0


def _praise(report: Report) -> str:
    """What was found whole."""
    looked_at = ", ".join(f"{n:,} {what}" for what, n in report.counts.items())
    return f"{report.path}: the {report.kind} is sound: {looked_at}"
