"""Progress: on a terminal one line; elsewhere nothing at all."""

from __future__ import annotations

import io
import sys

import pytest

from cllm import screen
from cllm.cli import progress
from cllm.cli.progress import Progress
from cllm.hooks.protocols import Document
from tests.terminal import Terminal


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
    monkeypatch.setattr(screen, "_bar", lambda stream: None)
    monkeypatch.setenv("COLUMNS", "60")
    shown = watched(Terminal(), monkeypatch)
    assert "\r192 documents  1,536 characters  1,152 tokens" in shown and shown.count("\n") == 1
    assert all(len(line) <= 60 for line in shown.replace("\n", "\r").split("\r"))
