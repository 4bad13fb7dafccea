"""Compute the step of an incident again, and say whether it gives the bits that the run saw.

The same bits mean that data or numerics are the cause. Other bits mean a race, memory or hardware; then the exit code
is 3. The step is computed by the engine, on as many threads as in the run or as --threads says, and then op by op on
one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cllm import receipt
from cllm.cli import OTHER_BITS
from cllm.cli.gathering import gathered
from cllm.cli.options import add_json, add_plugin_options, add_threads, print_json
from cllm.cli.terminal import visible
from cllm.errors import IncidentError, count
from cllm.replay import Replayed, config_of, replay

EXAMPLE = """\
examples:
  cllm replay runs/demo-1/incidents/step-00000005-batch-00000004.json
  cllm replay runs/demo-1/incidents/step-00000005-batch-00000004.json --threads 1 --html report.html"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("incident", type=Path, metavar="INCIDENT", help="a receipt: runs/NAME-N/incidents/step-*.json")
    add_threads(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report to read, with a picture")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    plugins = gathered(options, config_of(receipt.read(options.incident)))
    result = replay(options.incident, plugins, options.threads)
    if options.html is not None:
        _write_html(options.html, result)
    if options.json:
        print_json(_facts(result))
    else:
        _show(result)
    return 0 if result.same_bits else OTHER_BITS


def _facts(result: Replayed) -> dict[str, Any]:
    names = ("step", "batch_index", "summary", "decision", "first", "shards")
    told = {name: result.incident[name] for name in names}
    return {
        **told, "same_bits": result.same_bits, "cause": result.cause, "differs_in": result.differs_in,
        "threads": result.n_threads,
    }


def _show(result: Replayed) -> None:
    incident, first = result.incident, result.incident["first"]
    print(f"update {incident['step']}, batch {incident['batch_index']}: {'; '.join(incident['decision']['reasons'])}")
    print(visible(incident["summary"]))
    if first is not None:
        print("\n".join(map(visible, _place(first))))
    threads = count(result.n_threads, "thread")
    if result.same_bits:
        print(f"the same bits on {threads} and op by op: {result.cause}")
    else:
        print(f"other bits than the run saw, on {threads} or op by op: {result.cause}")
        print(f"what differs: {', '.join(result.differs_in)}")


def _place(first: dict[str, Any]) -> list[str]:
    """Where it arose, from which text, and of what."""
    place = first["place"]
    lines = [f"{first['tensor']}{first['index']} = {first['value']}"]
    if place["text"] is not None:
        lines.append(f"text {place['before']!r} [{place['text']!r}] {place['after']!r}")
    where = f"document {place['document']}, its token {place['offset']}"
    lines.append(f"from {place['file']}: token {place['file_position']}, {where}")
    return lines + [
        f"{one['role']} {one['tensor']}: up to {one['range']['magnitude']:.3g} everywhere"
        + (f", {one['row']['magnitude']:.3g} at this token" if one["row"] is not None else "")
        + (f", {count(one['range']['n_nonfinite'], 'value')} not finite" if one["range"]["n_nonfinite"] else "")
        for one in first["operands"]
    ]


def _write_html(path: Path, result: Replayed) -> None:
    from cllm import atomic
    from cllm.incidentreport import page

    with atomic.disk_errors(IncidentError, "replay", path):
        atomic.write_file(path, page(result.incident, result.cause, result.differs_in).encode())
