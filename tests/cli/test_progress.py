"""Progress: on a terminal one line, by rich where it is there; elsewhere nothing at all."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from cllm.cli import progress
from cllm.cli.progress import Progress
from cllm.hooks.protocols import Document


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watched(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, n: int = 400) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)
    with Progress() as shown:
        for number in range(n):
            shown.watch(Document("text", "here", continues=number % 2 == 1), 3)
        shown.tell("it goes on")
    return stream.getvalue()


def test_nothing_but_what_is_told_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(io.StringIO(), monkeypatch) == "cllm: it goes on\n"


def test_one_line_over_and_over_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_rich", lambda: None)
    monkeypatch.setenv("COLUMNS", "60")
    shown = watched(Terminal(), monkeypatch)
    assert "\r192 documents  1,536 characters  1,152 tokens" in shown and shown.count("\n") == 1
    assert all(len(line) <= 60 for line in shown.replace("\n", "\r").split("\r"))


def test_by_rich_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    shown = watched(Terminal(), monkeypatch)
    assert "it goes on" in shown and "\x1b[" in shown


def test_rich_is_not_asked_for_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise AssertionError

    monkeypatch.setattr(progress, "_rich", refuse)
    watched(io.StringIO(), monkeypatch)
