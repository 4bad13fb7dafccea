"""What is said of words in a command line that its command does not take: what is near to them, what has no name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cllm.errors import UsageError, count


def surplus(parser: argparse.ArgumentParser, words: Sequence[str], otherwise: str) -> UsageError:
    """The error for words that `parser` has left over; otherwise: the advice on an option that is near to nothing."""
    places = [action for action in parser._actions if not action.option_strings]  # they have no public name
    usage = " ".join([parser.prog, *(f"[{_name(one)}]" if one.nargs in ("?", "*") else _name(one) for one in places)])
    expected = f"{usage}, and the options in `{parser.prog} --help`"
    who = parser.prog.partition(" ")[2] or "command"
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if option is None:
        came = f"{count(len(words), 'word')} too many: {' '.join(words)}"
        return UsageError(who, came, expected, "leave out what is too much, or put text with blanks in quotation marks")
    return UsageError(who, f"no option {option}", expected, _near(option, parser, places) or otherwise)


def _near(option: str, parser: argparse.ArgumentParser, places: Sequence[argparse.Action]) -> str | None:
    """Advice by the names that there are. Dashes are left aside: by them all options would be alike."""
    import difflib

    named = [name for action in parser._actions for name in action.option_strings]
    advice = {name.lstrip("-"): f'did you mean "{name}"?' for name in named}
    for place in places:
        without = f"leave {option} out: {_name(place)} is known by its place, and has no name before it"
        advice |= {place.dest: without, _name(place).lower(): without}
    near = difflib.get_close_matches(option.lstrip("-"), advice, n=1)
    return advice[near[0]] if near else None


def _name(place: argparse.Action) -> str:
    return str(place.metavar or place.dest)
