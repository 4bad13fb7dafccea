"""Turn a dataset into token files: tokenised once, memory-mapped by every run."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cllm.assemble import kinds_of
from cllm.cli.gathering import gathered
from cllm.cli.options import add_json, add_plugin_options, new_folder, print_json, real, whole
from cllm.config import DataConfig, parse_override
from cllm.data.kinds import chosen_tokenizer
from cllm.data.prepare import prepare
from cllm.errors import UsageError, count

EXAMPLE = """\
examples:
  cllm prepare squad train-v2.0.json --out data/squad
  cllm prepare text books/ --tokenizer bpe --vocab-size 4000 --out data/books
  cllm prepare jsonl qa.jsonl --set 'template=Q: {question} A: {answer}' --dedup"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("loader", help="how to read it: text, jsonl, csv, markdown, repo, squad, pydoc, or a plugin's")
    parser.add_argument("source", nargs="*", help="what to read: files, folders, patterns")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="set one option of the loader, as in delimiter=;")
    parser.add_argument("--out", type=new_folder, metavar="DIR", help="the new folder (default: data/LOADER)")
    parser.add_argument("--tokenizer", default="byte",
                        help="byte, char, bpe, a plugin's, or the path of a tokenizer.json (default: byte)")
    parser.add_argument("--vocab-size", type=whole(1), metavar="N", help="tokens that bpe learns (default: 10000)")
    parser.add_argument("--validation", type=real(lambda share: 0 <= share < 1, "a share, at least 0 and below 1"),
                        default=0.1, help="share kept for validation (default: 0.1)")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    plugins = gathered(options)
    if not options.source and plugins.find("dataset", options.loader).requires("source"):
        came, expected = f"{options.loader} without a source", "what it shall read: files, folders, patterns"
        raise UsageError("prepare", came, expected, f"as in cllm prepare {options.loader} PATH")
    given = _options(options)
    out = options.out or Path("data") / options.loader.replace(".", "-")
    kinds = kinds_of(plugins)
    how = {} if options.vocab_size is None else {"vocab_size": options.vocab_size}
    tokenizer = chosen_tokenizer(DataConfig(tokenizer=options.tokenizer, tokenizer_options=how), kinds)
    report = prepare(kinds.dataset(options.loader, given), tokenizer[0], out, options.validation, tokenizer[1])
    if options.json:
        print_json({**asdict(report), "out": str(out)})
        return 0
    print(
        f"{count(report.n_segments, 'segment')}, {count(report.n_context_characters, 'character')} of context, "
        f"{count(report.n_tokens, 'token')} ({report.tokenizer}, vocabulary {report.vocab_size:,})"
    )
    print(f"{count(report.n_documents, 'document')}: {count(report.n_train_tokens, 'token')} to train on, "
          f"{report.n_validation_tokens:,} to validate, in {out}")
    return 0


def _options(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line says to the loader."""
    given: dict[str, Any] = {}
    for override in options.overrides:
        given |= parse_override(override)
    if options.source:
        given["source"] = options.source[0] if len(options.source) == 1 else options.source
    return given
