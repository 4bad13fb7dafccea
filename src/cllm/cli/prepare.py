"""Turn a dataset into token files: tokenised once, memory-mapped by every run."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from cllm.assemble import kinds_of
from cllm.cli.gathering import gathered, loader_options
from cllm.cli.options import (
    add_json,
    add_loader_options,
    add_plugin_options,
    new_folder,
    print_json,
    real,
    whole,
)
from cllm.data.kinds import Kinds, tokenizer_named
from cllm.data.prepare import prepare
from cllm.errors import UsageError, count
from cllm.hooks.protocols import Dataset

EXAMPLE = """\
examples:
  cllm prepare squad train-v2.0.json --out data/squad
  cllm prepare text books/ --tokenizer bpe --vocab-size 4000 --out data/books
  cllm prepare jsonl qa.jsonl --set 'template=Q: {question} A: {answer}' --dedup
  cllm prepare csv train.csv --validation-source test.csv --out data/questions"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("loader", help="how to read it: text, jsonl, csv, markdown, repo, squad, pydoc, or a plugin's")
    parser.add_argument("source", nargs="*", help="what to read: files, folders, patterns")
    add_loader_options(parser)
    parser.add_argument("--out", type=new_folder, metavar="DIR", help="the new folder (default: data/LOADER)")
    parser.add_argument("--tokenizer", default="byte",
                        help="byte, char, bpe, a plugin's, or the path of a tokenizer.json (default: byte)")
    parser.add_argument("--vocab-size", type=whole(1), metavar="N", help="tokens that bpe learns (default: 10000)")
    parser.add_argument("--validation", type=real(lambda share: 0 <= share < 1, "a share, at least 0 and below 1"),
                        help="share kept for validation (default: 0.1)")
    parser.add_argument("--validation-source", action="append", default=[], metavar="PATH",
                        help="what to keep for validation instead of a share; may be given several times")
    parser.add_argument("--dedup", action="store_true",
                        help="leave out documents with the same text as an earlier one, or one for validation")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    plugins = gathered(options)
    if not options.source and plugins.find("dataset", options.loader).requires("source"):
        came, expected = f"{options.loader} without a source", "what it shall read: files, folders, patterns"
        raise UsageError("prepare", came, expected, f"as in cllm prepare {options.loader} PATH")
    out = options.out or Path("data") / options.loader.replace(".", "-")
    kinds = kinds_of(plugins)
    tokenizer = tokenizer_named(options.tokenizer, options.vocab_size, kinds)
    report = prepare(
        kinds.dataset(options.loader, loader_options(options.overrides, options.source)), tokenizer[0], out,
        _validation(options, kinds), tokenizer[1], options.dedup,
    )
    if options.json:
        print_json({**asdict(report), "out": str(out)})
        return 0
    print(
        f"{count(report.n_segments, 'segment')}, {count(report.n_context_characters, 'character')} of context, "
        f"{count(report.n_tokens, 'token')} ({report.tokenizer}, vocabulary {report.vocab_size:,})"
    )
    print(f"{count(report.n_documents, 'document')}: {count(report.n_train_tokens, 'token')} to train on, "
          f"{report.n_validation_tokens:,} to validate, in {out}")
    if options.dedup:
        print(f"{count(report.n_duplicates, 'duplicate')} left out")
    return 0


def _validation(options: argparse.Namespace, kinds: Kinds) -> float | Dataset:
    """The share, or the documents, to hold out."""
    if not options.validation_source:
        return 0.1 if options.validation is None else float(options.validation)
    if options.validation is not None:
        raise UsageError("prepare", "--validation and --validation-source", "one of them", "leave the share out")
    return kinds.dataset(options.loader, loader_options(options.overrides, options.validation_source))
