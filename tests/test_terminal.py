"""A model's text on a terminal: everything that is text comes through, nothing that is a command does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cllm.cli import generate, main, train
from cllm.cli.terminal import visible, visible_pieces
from cllm.hooks.manager import build_manager

WILD = "a\x1b[2Jb\x07c\rd\x08e\x7ff\x9b1mg\u202eh\u2028i\x00"
TAMED = "a\\x1b[2Jb\\x07c\\rd\\x08e\\x7ff\\x9b1mg\\u202eh\\u2028i\\x00"


@pytest.mark.parametrize("text", ["two\nlines\tand é, 漢字, 👩\u200d🚀, \ufffd", "back\\slash", ""])
def test_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == "".join(visible_pieces(text)) == text


def test_controls_are_spelled_out() -> None:
    assert visible(WILD) == "".join(visible_pieces(WILD)) == TAMED


def test_no_piece_lets_a_control_character_through() -> None:
    every = "".join(map(chr, range(0x3000)))
    shown = visible(every)
    assert not [c for c in shown if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f"]


@pytest.mark.parametrize("pieces", [["a\r\nb"], ["a\r", "\nb"], ["a", "\r", "", "\n", "b"]])
def test_line_ends_of_other_systems_are_line_ends(pieces: list[str]) -> None:
    assert "".join(visible_pieces(pieces)) == "a\nb"


def test_a_last_carriage_return_is_not_lost() -> None:
    assert "".join(visible_pieces(["a", "\r"])) == "a\\r"


class WildModel:
    warnings = ()

    def stream(self, *_: object) -> Iterator[str]:
        return iter(WILD)

    def generate(self, *_: object, **__: object) -> str:
        return WILD


@pytest.mark.parametrize(("on_terminal", "written"), [(True, TAMED), (False, WILD)])
def test_generate_spares_terminals_and_is_exact_in_files(
    on_terminal: bool, written: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "gathered_for", lambda *_: None)
    monkeypatch.setattr(generate, "load", lambda *_: WildModel())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    assert main(["generate", "run", "Once "]) == 0
    assert capsys.readouterr().out == f"Once {written}\n"


def test_the_sample_after_training_is_safe_everywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cllm.generate", SimpleNamespace(load=lambda *_: WildModel()))
    train._show_end(Path("run"), build_manager(), can_write=True)
    assert f"What the model writes:\n{TAMED}\n" in capsys.readouterr().out
