"""Name the first step at which two runs differ, by the digests in their ledgers. Exit code 1 where they do."""

from __future__ import annotations

import argparse
from pathlib import Path

from cllm import ledger
from cllm.cli.options import add_json, print_json
from cllm.runfolder import RunFolder

EXAMPLE = """\
example:
  cllm diff runs/demo-1 runs/demo-2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="RUN")
    parser.add_argument("second", type=Path, metavar="RUN")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    first, second = (
        {record.step: record.digest for record in ledger.read(RunFolder.open(path).ledger_path) if record.digest}
        for path in (options.first, options.second)
    )
    common = sorted(first.keys() & second.keys())
    differing = next((step for step in common if first[step] != second[step]), None)
    if options.json:
        print_json({"compared_steps": common, "first_difference": differing})
    elif not common:
        print("the runs have no step with a digest in common")
    elif differing is None:
        print(_agreement(common))
    else:
        print(f"the first difference is at step {differing}: {first[differing]} and {second[differing]}")
    return 0 if common and differing is None else 1


def _agreement(steps: list[int]) -> str:
    if len(steps) == 1:
        return f"the same digest at the only step compared, step {steps[0]}"
    return f"the same digests at all {len(steps)} steps compared, up to step {steps[-1]}"
