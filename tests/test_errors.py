"""Errors: their sentence, their exit codes, and advice on misspelt names."""

from __future__ import annotations

import pickle

import pytest

from cllm import errors
from cllm.errors import (
    MOST_SHOWN,
    CllmError,
    ConfigError,
    InstabilityAbort,
    MemoryLimitError,
    UsageError,
    count,
    did_you_mean,
    one_line,
)


def test_an_error_says_who_what_came_what_was_expected_and_what_to_do() -> None:
    error = ConfigError("config", "n = 3", "an even number", "use 2 or 4")
    assert str(error) == "config: n = 3; expected an even number; use 2 or 4"
    assert (error.who, error.came, error.expected, error.todo) == ("config", "n = 3", "an even number", "use 2 or 4")


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UsageError("a", "b", "c", "d")))
    assert type(error) is UsageError
    assert str(error) == "a: b; expected c; d"


@pytest.mark.parametrize(
    ("kind", "code"),
    [(CllmError, 1), (UsageError, 2), (ConfigError, 2), (MemoryLimitError, 2), (InstabilityAbort, 17)],
)
def test_exit_codes(kind: type[CllmError], code: int) -> None:
    assert kind.exit_code == code


def test_every_error_is_one_of_ours() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 10
    assert all(issubclass(kind, CllmError) and kind.__doc__ for kind in kinds)


@pytest.mark.parametrize(
    ("word", "advice"),
    [("batch_sise", 'did you mean "batch_size"?'), ("zebra", "choose one of these"), ("", "choose one of these")],
)
def test_did_you_mean(word: str, advice: str) -> None:
    assert did_you_mean(word, ["batch_size", "seed"]) == advice
    assert did_you_mean("zebra", ["batch_size"], "look at the list") == "look at the list"


@pytest.mark.parametrize(("n", "text"), [(0, "0 tokens"), (1, "1 token"), (2, "2 tokens"), (1234, "1,234 tokens")])
def test_a_number_of_things(n: int, text: str) -> None:
    assert count(n, "token") == text


def test_a_message_is_one_line_that_no_terminal_obeys() -> None:
    error = CllmError("who\n", "came \x1b[2J\u202e \ud800", "a\tb", "todo\x7f é 漢字")
    assert str(error) == r"who\n: came \x1b[2J\u202e \ud800; expected a\tb; todo\x7f é 漢字"
    assert error.came == "came \x1b[2J\u202e \ud800"  # what is said of it elsewhere is spelled out there


def test_of_a_long_part_both_ends_are_shown() -> None:
    message = one_line("begin" + "x" * 10**6 + "end")
    assert message.startswith("begin") and message.endswith("end") and len(message) == MOST_SHOWN + len(" ... ")
    assert one_line("x" * MOST_SHOWN) == "x" * MOST_SHOWN
