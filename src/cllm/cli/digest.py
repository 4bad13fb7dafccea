"""Print the digest of a run's newest checkpoint: one hexadecimal number and nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path

from cllm import checkpoint, ledger
from cllm.errors import CheckpointError
from cllm.hooks.calling import warn
from cllm.runfolder import RunFolder

EXAMPLE = """\
example:
  cllm digest runs/demo-1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder")


def run(options: argparse.Namespace) -> int:
    folder = RunFolder.open(options.folder)
    saved = checkpoint.load_newest(folder.checkpoints)
    if saved is None:
        raise CheckpointError("digest", f"no checkpoint in {options.folder}", "at least one", "let the run reach one")
    warn(*saved.warnings)
    n_ranks = {record.more.get("ranks") for record in ledger.read(folder.ledger_path) if record.event == "fast"}
    if n_ranks:
        warn(f"fast: this digest depends on the number of ranks, {', '.join(map(str, sorted(n_ranks, key=str)))}")
    print(saved.digest)
    return 0
