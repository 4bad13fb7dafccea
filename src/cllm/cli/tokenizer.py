"""Learn a tokenizer from text alone, or look into one."""

from __future__ import annotations

import argparse
from pathlib import Path

from cllm.assemble import kinds_of
from cllm.cli.gathering import gathered, loader_options, tokenizer_options
from cllm.cli.options import (
    add_json,
    add_loader_options,
    add_plugin_options,
    add_tokenizer_options,
    print_json,
    whole,
)
from cllm.data.kinds import Kinds, tokenizer_named
from cllm.data.learning import tokenizer_for
from cllm.data.tokenizerfile import load_tokenizer, save_tokenizer
from cllm.errors import TokenizerError, UsageError, count, one_line
from cllm.hooks.protocols import Tokenizer

EXAMPLE = """\
examples:
  cllm tokenizer train book.txt --vocab-size 4000 --out tokenizer.json
  cllm tokenizer train questions/ --loader jsonl --out tokenizer.json
  cllm tokenizer inspect tokenizer.json --text "How is this divided?\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["train", "inspect"])
    parser.add_argument("paths", nargs="+", metavar="PATH",
                        help="with train: what to learn from; with inspect: a tokenizer.json")
    parser.add_argument("--out", type=Path, metavar="FILE", help="with train: the new file to write")
    parser.add_argument("--loader", default="text", help="with train: how to read it, as in prepare (default: text)")
    add_loader_options(parser)
    parser.add_argument("--tokenizer", default="bpe", help="with train: bpe, char or a plugin's (default: bpe)")
    parser.add_argument("--vocab-size", type=whole(1), metavar="N",
                        help="with train: tokens that bpe learns (default: 10000)")
    add_tokenizer_options(parser)
    parser.add_argument("--text", help="with inspect: a text to divide into tokens")
    add_json(parser)
    add_plugin_options(parser)


def run(options: argparse.Namespace) -> int:
    kinds = kinds_of(gathered(options))
    return _train(options, kinds) if options.action == "train" else _inspect(options, kinds)


def _train(options: argparse.Namespace, kinds: Kinds) -> int:
    if options.out is None or options.text is not None:
        came = "train without --out" if options.out is None else "train with --text"
        raise UsageError("tokenizer", came, "--out FILE", "as in cllm tokenizer train book.txt --out tokenizer.json")
    if options.out.exists() or options.out.is_symlink():
        todo = "choose another, or remove it"
        raise TokenizerError("tokenizer", f"{options.out} is there already", "a new file", todo)
    if not options.out.parent.is_dir():  # said before it learns for long
        came, todo = f"there is no folder {options.out.parent}", "make it first, or choose another"
        raise TokenizerError("tokenizer", came, "a folder for the new file", todo)
    kind, learning = tokenizer_named(
        options.tokenizer, tokenizer_options(options.tokenizer_overrides, options.vocab_size), kinds
    )
    dataset = kinds.dataset(options.loader, loader_options(options.overrides, options.paths))
    tokenizer = tokenizer_for(kind, dataset, learning)
    save_tokenizer(tokenizer, options.out)
    _tell(tokenizer, options, {"out": str(options.out)})
    return 0


def _inspect(options: argparse.Namespace, kinds: Kinds) -> int:
    if len(options.paths) != 1 or options.out is not None:
        came = "--out" if options.out is not None else f"{len(options.paths)} paths"
        raise UsageError("tokenizer", f"inspect with {came}", "one FILE", "as in cllm tokenizer inspect tokenizer.json")
    _tell(load_tokenizer(Path(options.paths[0]), kinds.tokenizer), options, {})
    return 0


def _tell(tokenizer: Tokenizer, options: argparse.Namespace, more: dict[str, str]) -> None:
    ids = [] if options.text is None else tokenizer.encode(options.text).tolist()
    texts = [tokenizer.decode([one]) for one in ids]
    if options.json:
        told = {"name": tokenizer.name, "vocab_size": tokenizer.vocab_size, "digest": tokenizer.digest(), **more}
        print_json(told if options.text is None else {**told, "ids": ids, "texts": texts})
        return
    where = f", in {options.out}" if more else ""
    print(f"{tokenizer.name}: {count(tokenizer.vocab_size, 'token')}, digest {tokenizer.digest()}{where}")
    if options.text is not None:
        n_characters = count(len(options.text), "character")
        print(f"{n_characters}, {count(len(ids), 'token')}: {' '.join(map(str, ids))}")
        print("|".join(map(one_line, texts)))
