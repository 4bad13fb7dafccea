"""Lists with commas as options: --config XS,S and --threads 1,2."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def names(known: Collection[str], none: bool = False) -> Callable[[str], tuple[str, ...]]:
    """For argparse's `type`: names that are known, each once; with `none`, that word for none of them."""

    def parse(text: str) -> tuple[str, ...]:
        if none and text == "none":
            return ()
        found = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return found

    return parse


def numbers(text: str) -> tuple[int, ...]:
    """For argparse's `type`: whole numbers above 0, each once."""
    try:
        found = tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, which should be whole numbers above 0, as 1,2")
    return found
