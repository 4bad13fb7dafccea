"""Measure a trained model on the whole validation part and on [data.evaluate]: loss, perplexity, bits per byte."""

from __future__ import annotations

import argparse
from pathlib import Path

from cllm.cli.gathering import gathered_for
from cllm.cli.options import add_json, add_plugin_options, add_threads, print_json
from cllm.errors import count
from cllm.evaluate import Evaluation
from cllm.evaluate_run import evaluate_run
from cllm.hooks.calling import warn

EXAMPLE = """\
example:
  cllm eval runs/squad-1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    add_threads(parser)
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    plugins = gathered_for(options, options.folder)
    found = evaluate_run(options.folder, plugins, options.threads)
    warn(*found.warnings)
    if options.json:
        others = {name: _plain(result) for name, result in found.others.items()}
        print_json({**(_plain(found.validation) if found.validation else {}), **({"others": others} if others else {})})
        return 0
    if found.validation:
        print(_told(found.validation))
    for name, result in found.others.items():
        print(f"{name}: {_told(result)}")
    return 0


def _plain(result: Evaluation) -> dict[str, float | None]:
    return {
        "loss": result.loss, "perplexity": result.perplexity, "bits_per_byte": result.bits_per_byte,
        "tokens": int(result.n_tokens),
    }


def _told(result: Evaluation) -> str:
    bits = f", bits per byte {result.bits_per_byte:.4f}" if result.bits_per_byte is not None else ""
    tokens = count(int(result.n_tokens), "token")
    return f"loss {result.loss:.4f}, perplexity {result.perplexity:.3f}{bits} over {tokens}"
