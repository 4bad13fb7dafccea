"""Train a model, from a config, from a text file, or as a demonstration that needs neither."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cllm.cli import INTERRUPTED, TERMINATED
from cllm.cli.gathering import gathered
from cllm.cli.options import (
    add_overrides,
    add_plugin_options,
    add_threads,
    new_folder,
    overrides_of,
    print_json,
    whole,
)
from cllm.cli.terminal import visible
from cllm.config import Config, load_config, located, to_toml
from cllm.errors import UsageError, count
from cllm.hooks.calling import warn
from cllm.hooks.plugins import Plugins
from cllm.interrupts import Terminated
from cllm.jsonl import line_of
from cllm.runfolder import RunFolder

if TYPE_CHECKING:
    from cllm.trainer import Trainer

EXAMPLE = """\
examples:
  cllm train --demo
  cllm train --data book.txt --preset tiny
  cllm train configs/squad.toml --threads 8 --set train.steps=2000
  cllm train --resume runs/squad-1"""

# About a minute on two cores; pydoc_data.topics is real English that every CPython ships.
DEMO: dict[str, Any] = {
    "name": "demo",
    "model": {"preset": "tiny", "block_size": 128},
    "data": {"loader": "pydoc", "tokenizer": "byte"},
    "train": {"steps": 800, "batch_size": 16, "eval_every": 200, "eval_batches": 10, "log_every": 20},
    "optimizer": {"name": "adamw", "learning_rate": 2e-3},
    "schedule": {"name": "cosine", "warmup_steps": 50},
    "checkpoint": {"every": 400},
}


_RECORDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv"}  # suffix -> who reads the fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("config", nargs="?", type=Path, help="a config file in TOML")
    what.add_argument("--demo", action="store_true", help="train on text that Python ships, about a minute")
    what.add_argument("--data", metavar="PATH",
                      help="text: a file, a folder or a pattern; or prepared data; or what data.loader reads")
    what.add_argument("--resume", type=Path, metavar="RUN", help="go on with an interrupted run")
    parser.add_argument("--preset", help="sizes of the model: tiny, mini, small, medium, gpt2")
    parser.add_argument("--out", type=new_folder, metavar="DIR", help="the run folder, instead of runs/NAME-N")
    add_threads(parser)
    parser.add_argument("--init-from", type=Path, metavar="RUN", help="start from the weights of another run")
    add_overrides(parser)
    parser.add_argument("--inject-nan", type=whole(1), metavar="STEP",
                        help="put a NaN into that step, to see what the run does then; changes nothing before")
    parser.add_argument("--dry-run", action="store_true", help="print config, sizes and memory, and stop")
    parser.add_argument("--json", action="store_true",
                        help="print every step as a line of JSON, and nothing else; with --dry-run: its numbers")
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    config = config_of(options)
    plugins = gathered(options, config)
    if options.dry_run:
        return _dry_run(config, plugins, options.json)
    from cllm.trainer import Trainer

    with Trainer(config, options.out, resume=options.resume, init_from=options.init_from, plugins=plugins) as trainer:
        warn(*trainer.warnings)
        folder = trainer.folder.path
        if trainer.is_over:
            _say(trainer, _finished(trainer), sys.stderr if options.json else sys.stdout)
            return 0
        try:
            for report in trainer:
                if options.json and trainer.leads:
                    print(line_of(asdict(report)), flush=True)
        except (KeyboardInterrupt, Terminated) as end:
            unsaved = "" if trainer.is_saved else ", which is not saved"
            stopped = f"stopped after step {trainer.state.step}{unsaved}"
            _say(trainer, f"\n{stopped}; go on with: cllm train --resume {folder}")
            return TERMINATED if isinstance(end, Terminated) else INTERRUPTED
        if trainer.is_stale:
            _say(trainer, _finished(trainer))
    if not trainer.leads:
        return 0
    if options.json:
        print(f"Run folder: {folder}", file=sys.stderr)
        return 0
    can_write = trainer.parts.data.tokenizer is not None
    del trainer  # or the model that writes the sample would stand beside all that the run holds
    _show_end(folder, plugins, can_write)
    return 0


def config_of(options: argparse.Namespace) -> Config:
    """The config that the words on the command line stand for."""
    base: dict[str, Any] = {}
    path = options.config
    if options.demo:
        base = DEMO
    elif options.data is not None:
        base = {"name": _name_of(options.data), "model": {"preset": "tiny"}, "data": _data_of(options)}
    elif options.resume is not None:
        if options.out or options.init_from:
            raise UsageError("train", "--resume with --out or --init-from", "--resume alone", "start a new run instead")
        path = RunFolder.open(options.resume, "resume").config_path
    preset = [f"model.preset={options.preset}"] if options.preset else []
    fault = [] if options.inject_nan is None else [f"train.inject_nan={options.inject_nan}"]
    return load_config(path, preset + fault + overrides_of(options), base)


def _data_of(options: argparse.Namespace) -> dict[str, Any]:
    """What --data is to [data]: what a loader reads, where --set names one, or else a path."""
    if any(override.partition("=")[0].strip() == "data.loader" for override in options.overrides):
        return {"source": options.data}
    loader = _RECORDS.get(Path(options.data).suffix.lower())
    if loader is not None and Path(options.data).is_file():
        warn(f"{options.data} is read as plain text; for its fields add --set data.loader={loader}")
    return {"path": options.data}


def _say(trainer: Trainer, text: str, where: TextIO | None = None) -> None:
    """One of all ranks does."""
    if trainer.leads:
        print(text, file=where or sys.stderr)


def _finished(trainer: Trainer) -> str:
    finished = f"{trainer.folder.path} is finished: {count(trainer.state.step, 'step')}"
    if not trainer.is_stale:
        return f"{finished}. To go on: --set train.steps=N"
    stale = count(trainer.state.course.stale, "evaluation")
    return f"{finished}; the validation loss has not fallen for {stale}. To go on: --set train.patience=0"


def _name_of(data: str) -> str:
    stem = "".join(c if c.isascii() and c.isalnum() else "-" for c in Path(data).stem).strip("-")
    return stem or "run"


def _show_end(folder: Path, plugins: Plugins, can_write: bool) -> None:
    following = [f"cllm eval {folder}", f"cllm digest {folder}"]
    if can_write:
        from cllm.generate import load

        text = visible(load(folder, plugins).generate("\n", 200, seed=1))  # in a log, too, that somebody will look at
        print(f"\nWhat the model writes:\n{text}\n")
        following.insert(0, f'cllm generate {folder} "The "')
    else:
        print("\nThe data does not say which tokenizer made it, so the model can be measured, but cannot write text.\n")
    print(f"Run folder: {folder}")
    print(f"Next: {'    '.join(following)}")


def _dry_run(config: Config, plugins: Plugins, as_json: bool) -> int:
    from tempfile import TemporaryDirectory

    from cllm.assemble import open_run_data, outline
    from cllm.ranks import join
    from cllm.reduction import count_shards

    ranks = join(plugins.make_communicator(config), {})
    if not ranks.leads:
        return 0
    config = located(config)
    train, block_size = config.train, config.model.block_size
    with TemporaryDirectory() as cache:
        data = open_run_data(config, plugins, Path(cache))
        # The last rank has as many shards as any.
        known = outline(config, data, plugins, share=ranks.share.of_rank(ranks.n_ranks - 1))
        facts = {
            "parameters": known.program.n_parameters,
            "shards": count_shards(train.batch_size, block_size, train.micro_batch_size),
            **({"ranks": ranks.n_ranks} if ranks.n_ranks > 1 else {}),
            "threads": known.n_threads,
            "tokens_per_step": config.tokens_per_step,
            "windows_per_epoch": known.batches.windows_per_epoch,
            "flops_per_token": known.program.flops_per_token(block_size),
            "memory_bytes": known.memory,
        }
        resolved = to_toml(known.config)
    if as_json:
        print_json({**facts, "config": resolved})
        return 0
    print(resolved)
    for name, value in facts.items():
        if isinstance(value, dict):
            total = sum(value.values())
            of_each = " of a rank" if "ranks" in facts else ""
            purposes = ", ".join(f"{k} {v / 1e6:,.1f}" for k, v in value.items())
            print(f"memory{of_each}: {total / 1e6:,.1f} MB ({purposes})")
        else:
            print(f"{name.replace('_', ' ')}: {value:,.0f}")
    return 0
