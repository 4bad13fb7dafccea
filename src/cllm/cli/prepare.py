"""Turn a dataset into token files: tokenised once, memory-mapped by every run."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from msgspec import Struct, to_builtins

from cllm.assemble import kinds_of
from cllm.cli.gathering import gathered, loader_options, tokenizer_options
from cllm.cli.options import (
    add_json,
    add_loader_options,
    add_plugin_options,
    add_threads,
    add_tokenizer_options,
    new_folder,
    print_json,
    real,
    whole,
)
from cllm.cli.progress import Progress
from cllm.data.journal import hidden_work
from cllm.data.kinds import Kinds, tokenizer_named
from cllm.data.manifest import part_name
from cllm.data.prepare import Job, run_resumable
from cllm.data.preparedpart import PrepareReport
from cllm.digest import json_digest
from cllm.errors import UsageError, count
from cllm.hooks.protocols import Dataset, Tokenizer
from cllm.version import __version__, version_of

EXAMPLE = """\
examples:
  cllm prepare squad train-v2.0.json --out data/squad
  cllm prepare text books/ --tokenizer bpe --vocab-size 4000 --out data/books
  cllm prepare jsonl qa.jsonl --set 'template=Q: {question} A: {answer}' --dedup
  cllm prepare text stories/ books/ --weights 3,1 --tokenizer bpe --out data/mixed
  cllm prepare csv train.csv --validation-source test.csv --out data/questions"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("loader", help="how to read it: text, jsonl, csv, markdown, repo, squad, pydoc, or a plugin's")
    parser.add_argument("source", nargs="*", help="what to read: files, folders, patterns")
    add_loader_options(parser)
    parser.add_argument("--out", type=new_folder, metavar="DIR", help="the new folder (default: data/LOADER)")
    parser.add_argument("--tokenizer", default="byte",
                        help="byte, char, bpe, a plugin's, or the path of a tokenizer.json (default: byte)")
    parser.add_argument("--vocab-size", type=whole(1), metavar="N", help="tokens that bpe learns (default: 10000)")
    add_tokenizer_options(parser)
    parser.add_argument("--validation", type=real(lambda share: 0 <= share < 1, "a share, at least 0 and below 1"),
                        help="share kept for validation (default: 0.1)")
    parser.add_argument("--validation-source", action="append", default=[], metavar="PATH",
                        help="what to keep for validation instead of a share; may be given several times")
    parser.add_argument("--dedup", action="store_true",
                        help="leave out documents with the same text as an earlier one, or one for validation")
    parser.add_argument("--weights", type=_weights, metavar="W,W,...",
                        help="prepare each source by itself, as a mixture with these shares of the samples")
    add_threads(parser)
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    plugins = gathered(options)
    if not options.source and plugins.find("dataset", options.loader).requires("source"):
        came, expected = f"{options.loader} without a source", "what it shall read: files, folders, patterns"
        raise UsageError("prepare", came, expected, f"as in cllm prepare {options.loader} PATH")
    if options.weights is not None:
        _check_weights(options)
    out = options.out or Path("data") / options.loader.replace(".", "-")
    kinds = kinds_of(plugins)
    tokenizer, how = tokenizer_named(
        options.tokenizer, tokenizer_options(options.tokenizer_overrides, options.vocab_size), kinds
    )
    sources = [options.source] if options.weights is None else [[source] for source in options.source]
    with Progress() as progress:
        job = Job(
            [kinds.dataset(options.loader, loader_options(options.overrides, source)) for source in sources],
            tokenizer, _validation(options, kinds), how, options.dedup, options.weights, options.threads,
            progress.watch,
        )
        try:
            reports = run_resumable(job, out, _identity(options, tokenizer, how), progress.tell)
        except KeyboardInterrupt:
            if hidden_work(out).exists():
                progress.tell("stopped; the same command goes on from what is done")
            raise
    if options.json:
        told = [{**asdict(report), "out": str(out)} for report in reports]
        print_json(told if options.weights is not None else told[0])
        return 0
    for number, report in enumerate(reports):
        _show(report, out if options.weights is None else out / part_name(number), options.dedup)
    if options.weights is not None:
        shares = ", ".join(f"{100.0 * weight / sum(options.weights):.1f}%" for weight in options.weights)
        print(f"a mixture of {count(len(reports), 'part')} with {shares} of the samples, in {out}")
    return 0


def _show(report: PrepareReport, out: Path, dedup: bool) -> None:
    print(
        f"{count(report.n_segments, 'segment')}, {count(report.n_context_characters, 'character')} of context, "
        f"{count(report.n_tokens, 'token')} ({report.tokenizer}, vocabulary {report.vocab_size:,})"
    )
    print(f"{count(report.n_documents, 'document')}: {count(report.n_train_tokens, 'token')} to train on, "
          f"{report.n_validation_tokens:,} to validate, in {out}")
    if dedup:
        print(f"{count(report.n_duplicates, 'duplicate')} left out")


def _identity(options: argparse.Namespace, tokenizer: Tokenizer | type[Tokenizer], how: Struct | None) -> str:
    """A digest of all on the command line that decides what is written."""
    learned = options.tokenizer if isinstance(tokenizer, type) else tokenizer.digest()
    deciding = {
        name: getattr(options, name)
        for name in ("loader", "source", "overrides", "validation", "validation_source", "dedup", "weights")
    }
    versions = {"cllm": __version__, "tokenizers": version_of("tokenizers")}  # which may learn, or cut, otherwise
    return json_digest({**deciding, "tokenizer": learned, "how": to_builtins(how), **versions})


def _weights(text: str) -> list[float]:
    """The type of --weights: numbers above 0 between commas."""
    return [real(lambda weight: weight > 0, "numbers above 0, as in 3,1,1")(one) for one in text.split(",")]


def _check_weights(options: argparse.Namespace) -> None:
    if len(options.weights) != len(options.source):
        came = f"{count(len(options.weights), 'weight')} for {count(len(options.source), 'source')}"
        raise UsageError("prepare", came, "a weight for each source", "as in A B C --weights 3,1,1")
    if options.validation_source:
        came, todo = "--weights and --validation-source", "leave the source out: a share of each is held out"
        raise UsageError("prepare", came, "one of them", todo)


def _validation(options: argparse.Namespace, kinds: Kinds) -> float | Dataset:
    """The share, or the documents, to hold out."""
    if not options.validation_source:
        return 0.1 if options.validation is None else float(options.validation)
    if options.validation is not None:
        raise UsageError("prepare", "--validation and --validation-source", "one of them", "leave the share out")
    return kinds.dataset(options.loader, loader_options(options.overrides, options.validation_source))
