"""Show what is in prepared data: documents, lengths, the tokens that come most often, and some of the text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from cllm.assemble import kinds_of
from cllm.cli.gathering import gathered
from cllm.cli.options import add_json, add_plugin_options, print_json, whole
from cllm.cli.terminal import visible
from cllm.data.tokenstats import TokenStats, token_files, token_stats
from cllm.errors import count

EXAMPLE = """\
examples:
  cllm data show data/squad
  cllm data show data/squad/train.tokens --samples 10 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["show"])
    parser.add_argument("path", type=Path, metavar="DATA", help="prepared data, or a token file")
    parser.add_argument("--samples", type=whole(0, 1000), default=3, metavar="N",
                        help="documents whose beginning is shown (default: 3)")
    parser.add_argument("--length", type=whole(1, 100_000), default=100, metavar="N",
                        help="tokens that are shown of each (default: 100)")
    parser.add_argument("--top", type=whole(0, 100_000), default=10, metavar="N",
                        help="how many of the tokens that come most often (default: 10)")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    class_of = kinds_of(gathered(options)).tokenizer
    found = [
        token_stats(path, options.top, options.samples, options.length, class_of) for path in token_files(options.path)
    ]
    if options.json:
        print_json([{**asdict(one), "path": str(one.path)} for one in found])
        return 0
    print("\n\n".join("\n".join(_lines(one)) for one in found))
    return 0


def _lines(stats: TokenStats) -> Iterator[str]:
    made = f"tokenizer {stats.tokenizer}" if stats.tokenizer else "an unknown tokenizer"
    yield f"{stats.path}: {count(stats.n_documents, 'document')}, {count(stats.n_tokens, 'token')} of {made}"
    yield f"lengths: {stats.shortest:,} to {stats.longest:,} tokens, the median {stats.median:,}"
    if stats.n_answers:
        share = 100.0 * stats.n_answer_tokens / stats.n_tokens
        yield f"answers: {stats.n_answers:,}, with {count(stats.n_answer_tokens, 'token')}, {share:.1f}% of all"
    yield f"vocabulary: {stats.n_used:,} of {count(stats.vocab_size, 'token')} are used"
    for one in stats.frequent:
        text = "" if one.text is None else f"  {one.text!r}"
        yield f"{one.count:>14,} x {one.token}{text}"
    for sample in stats.samples:
        yield f"--- document {sample.document + 1:,}"
        yield " ".join(map(str, sample.tokens)) if sample.text is None else visible(sample.text)
