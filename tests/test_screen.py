"""A terminal's last line: plain text written over, or rich's bar; and nobody's where there is no terminal."""

from __future__ import annotations

import io
import re
import threading

import pytest

from cllm import screen
from cllm.screen import Bar, Line, Log, screen_of
from tests.terminal import Terminal


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def on_screen(stream: io.StringIO) -> list[str]:
    """What a terminal that knows \\r, \\n and "erase the line" would show in the end."""
    lines, column = [""], 0
    for part in re.split(r"(\r|\n|\x1b\[[0-9;?]*[A-Za-z])", stream.getvalue()):
        if part == "\r":
            column = 0
        elif part == "\n":
            lines.append("")
            column = 0
        elif part == "\x1b[2K":
            lines[-1] = ""
        elif part.startswith("\x1b["):
            assert part[-1] in "mhlA"
            assert part[-1] != "A" or part == "\x1b[1A"
            if part[-1] == "A":
                lines.pop()
        else:
            lines[-1] = lines[-1][:column].ljust(column) + part + lines[-1][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


def test_in_a_file_or_a_pipe_lines_stay_and_nothing_is_shown() -> None:
    stream = io.StringIO()
    shown = screen_of(stream)
    assert isinstance(shown, Log) and not shown.is_terminal
    shown.show("on the way", 0.5)
    assert stream.getvalue() == ""
    shown.stay("there")
    shown.close(keep=True)
    assert stream.getvalue() == "there\n"


def test_a_line_is_written_over_and_lines_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_bar", lambda stream: None)
    stream = Terminal()
    shown = screen_of(stream)
    assert isinstance(shown, Line)
    shown.show("a long beginning", 0.1)
    shown.show("short", 0.2)
    assert on_screen(stream) == ["short"]
    shown.stay("this stays")
    shown.show("x" * 100)
    assert on_screen(stream) == ["this stays", "x" * 59]
    shown.close(keep=True)
    shown.close(keep=True)
    assert on_screen(stream) == ["this stays", "x" * 59, ""]


def test_a_line_can_be_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_bar", lambda stream: None)
    stream = Terminal()
    shown = screen_of(stream)
    shown.show("on the way")
    shown.close(keep=False)
    assert on_screen(stream) == [""]


@pytest.mark.parametrize("keep", [True, False])
def test_rich_shows_a_bar_before_the_text(keep: bool) -> None:
    pytest.importorskip("rich")
    stream, n_threads = Terminal(), threading.active_count()
    shown = screen_of(stream)
    assert isinstance(shown, Bar)
    shown.stay("first [a line] that stays")
    shown.show("one [b] of two", 0.5)
    assert threading.active_count() == n_threads  # nothing that a fork or a signal could meet
    shown.stay("and one more")
    shown.show("two of two", 1.0)
    shown.close(keep)
    shown.close(keep)
    lines = [line for line in on_screen(stream) if line]
    assert lines[:2] == ["first [a line] that stays", "and one more"]
    assert [line.split()[1:] for line in lines[2:]] == ([["two", "of", "two"]] if keep else [])
    assert "one [b] of two" in stream.getvalue()


def test_a_bar_goes_where_the_last_line_stays_anyway() -> None:
    pytest.importorskip("rich")
    stream = Terminal()
    shown = screen_of(stream)
    shown.show("nearly done", 0.9)
    shown.stay("done")
    shown.close(keep=True)
    assert [line for line in on_screen(stream) if line] == ["done"]


def test_a_terminal_that_is_a_printer_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(screen_of(Terminal()), Line)
