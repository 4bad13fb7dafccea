"""Options that several commands share, and the numbers that options take: checked before anything is read or made."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cllm.env import MOST_THREADS


def add_plugin_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-p", dest="plugins", action="append", default=[], metavar="PLUGIN",
                        help="load a plugin: ./file.py, a module, or no:NAME to leave one out")
    parser.add_argument("--no-plugins", action="store_true",
                        help="load nothing of installed packages, but for what -p names: plugins run code")
    parser.add_argument("--strict-plugins", action="store_true", help="fail where a plugin is broken, even if unused")
    parser.add_argument("--trace-plugins", action="store_true",
                        help="print each import of a plugin and each call of a hook, with its milliseconds")


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=whole(1, MOST_THREADS), metavar="N", help="threads to use; changes no bit")


def add_overrides(parser: argparse.ArgumentParser, of: str = "the config") -> None:
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="TABLE.KEY=VALUE",
                        help=f"set one value of {of}")


def add_loader_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="set one option of the loader, as in delimiter=;")


def add_tokenizer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokenizer-set", dest="tokenizer_overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="set one option of the tokenizer, as [data.tokenizer_options] does")


def overrides_of(options: argparse.Namespace) -> list[str]:
    """What --set and --threads lay over a config."""
    return [*options.overrides, *([] if options.threads is None else [f"train.threads={options.threads}"])]


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """The type of an option that takes a whole number in lowest <= n <= highest."""
    upward = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"

    def number(text: str) -> int:
        # int() would take "1_0", and digits of every script.
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else None
        if value is None or value < lowest or (highest is not None and value > highest):
            raise _refused(text, f"a whole number, {upward}")
        return value

    return number


def real(holds: Callable[[float], bool], expected: str) -> Callable[[str], float]:
    """The type of an option that takes a finite number for which `holds`; `expected` says so in words."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and holds(value)):
            raise _refused(text, expected)
        return value

    return number


def not_empty(text: str) -> str:
    """The type of an option that takes text, of which there must be some."""
    if not text:
        raise _refused(text, "some text")
    return text


def new_folder(text: str) -> Path:
    """The type of an option that takes a folder to write. An empty text, as of an unset variable, is none."""
    return Path(not_empty(text))


def _refused(text: str, expected: str) -> argparse.ArgumentTypeError:
    # argparse names the option before it, and exits with 2.
    return argparse.ArgumentTypeError(f"{text!r}; expected {expected}; correct it, or leave it out for the default")
