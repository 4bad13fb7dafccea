"""Write text with a trained model, token by token; on a terminal, control characters in it are spelled out."""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

from cllm.cli.gathering import gathered_for
from cllm.cli.options import add_plugin_options, add_threads, not_empty, real, whole
from cllm.cli.terminal import visible_pieces
from cllm.generate import load
from cllm.hooks.calling import warn
from cllm.philox import SEED_BITS
from cllm.sampling import Sampling

EXAMPLE = """\
example:
  cllm generate runs/squad-1 "Q: Who won the game?" --tokens 100 --temperature 0.7 --seed 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("prompt", nargs="?", default="\n",
                        help="what the text begins with; for a model of SQuAD a whole question, with its question mark")
    parser.add_argument("--tokens", type=whole(0), default=200, metavar="N", help="tokens to write (default: 200)")
    parser.add_argument("--temperature", type=real(lambda t: t >= 0, "a number, 0 or more"), default=0.8,
                        help="0 takes the likeliest (default: 0.8)")
    parser.add_argument("--top-k", type=whole(1), metavar="K", help="choose among the likeliest K")
    parser.add_argument("--top-p", type=real(lambda p: 0 < p <= 1, "a number above 0 and at most 1"), metavar="P",
                        help="choose among the fewest that make up P")
    parser.add_argument("--seed", type=whole(0, (1 << SEED_BITS) - 1), default=0,
                        help="another seed, another text (default: 0)")
    add_threads(parser)
    parser.add_argument("--stop", type=not_empty, metavar="TEXT", help="end before this text")
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    model = load(options.folder, gathered_for(options, options.folder))
    warn(*model.warnings)
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.seed)
    stream = model.stream(options.prompt, options.tokens, sampling, options.stop, options.threads)
    first = next(stream)  # before anything is printed: a prompt that the model cannot read is refused here
    pieces = chain([options.prompt, first], stream)
    try:
        # A file or a pipe gets what the model wrote, to the character.
        for piece in visible_pieces(pieces) if sys.stdout.isatty() else pieces:
            print(piece, end="", flush=True)
    finally:
        print()  # whatever else is said begins on a fresh line
    return 0
