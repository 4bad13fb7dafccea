"""The errors that cllm raises: each says who, what came, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType

MOST_SHOWN = 1000  # characters of a part; a name or a value of a file may have any number


def one_line(text: str) -> str:
    """`text` as a terminal may show it: what is no printable character is spelled out, and the middle of much left out.

    File names and the content of files come into messages: a line break in one would end a line of a log, and an escape
    sequence would be obeyed.
    """
    if len(text) > MOST_SHOWN:
        text = f"{text[: MOST_SHOWN // 2]} ... {text[-MOST_SHOWN // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class CllmError(Exception):
    """The base of every error that cllm raises on purpose.

    `who` names the part that refuses, `came` what it was given, `expected` what it can take,
    and `todo` what the reader can do about it. The message is one line, whatever stands in them.
    """

    exit_code = 1
    is_echo = False  # whether another process tells of it, so that this one need not

    def __init__(self, who: str, came: str, expected: str, todo: str) -> None:
        super().__init__(f"{one_line(who)}: {one_line(came)}; expected {one_line(expected)}; {one_line(todo)}")
        self.who = who
        self.came = came
        self.expected = expected
        self.todo = todo

    def __reduce__(self) -> tuple[type[CllmError], tuple[str, str, str, str]]:
        return type(self), (self.who, self.came, self.expected, self.todo)


class UsageError(CllmError):
    """A command line, or a call from Python, that cannot be carried out."""

    exit_code = 2


class ConfigError(CllmError):
    """A config file, an override or a combination of values that makes no run."""

    exit_code = 2


class DataError(CllmError):
    """A source of text that is missing, broken or not what its loader reads."""


class TokenFileError(DataError):
    """A token file that is missing, truncated, altered or of another kind."""


class TokenizerError(CllmError):
    """Text or token ids that a tokenizer cannot turn into the other."""


class CheckpointError(CllmError):
    """A checkpoint that is missing, incomplete, altered or made by another model."""


class RunFolderError(CllmError):
    """A run folder that is in use, cannot be written or is not one."""


class IncidentError(CllmError):
    """An incident that is missing, altered, or cannot be replayed here."""


class PluginError(CllmError):
    """A plugin that is missing, broken, or in conflict with another."""


class KernelError(CllmError):
    """Arrays that a kernel cannot take."""


class ProgramError(CllmError):
    """A model whose ops do not fit together."""


class MemoryLimitError(CllmError):
    """A job whose estimated memory is more than this machine may give."""

    exit_code = 2


class InstabilityAbort(CllmError):
    """A check, or a reducer that failed, stopped the run before the update; all is as after the last good step."""

    exit_code = 17


class RankError(CllmError):
    """One of the processes that train together ended, or came to something else than the others; all of them stop."""


def did_you_mean(word: str, choices: Iterable[str], otherwise: str = "choose one of these") -> str:
    """Return advice on a name that does not exist, for an error's `todo`: the nearest of those that do, if one is."""
    import difflib

    near = difflib.get_close_matches(word, list(choices), n=1)
    return f'did you mean "{near[0]}"?' if near else otherwise


def count(n: int, thing: str) -> str:
    """Return a number of things as a message has it: 1 document, 2,668 documents."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def check_kind(
    error: type[CllmError], who: str, name: str, value: object, kind: type | UnionType, expected: str, todo: str
) -> None:
    """Raise `error` where the argument `name` of `who` is of another kind."""
    import reprlib

    if not isinstance(value, kind):
        raise error(who, f"{name} = {reprlib.repr(value)}, of type {type(value).__name__}", expected, todo)
