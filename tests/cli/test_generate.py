"""`cllm generate`: what it refuses, and what stands on the screen when it ends early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cllm.cli import main
from cllm.generate import Model
from tests.runs import config, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run over the characters of a text without ñ."""
    folder = tmp_path_factory.mktemp("generate")
    train(config(folder, "train.steps=1", "data.tokenizer=char", "schedule.warmup_steps=0"), folder / "run")
    return str(folder / "run")


def test_a_prompt_that_the_model_cannot_read_is_refused_before_it_is_printed(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", run, "ñandú"]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err[:39]) == ("", "cllm: tokenizer char: character 'ñ' (U+")


def test_a_text_that_is_interrupted_ends_its_line(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Model, prompt: str, *_: Any) -> Iterator[str]:
        yield " and so"
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "stream", interrupted)
    assert main(["generate", run, "The "]) == 130
    assert capsys.readouterr().out == "The  and so\n"


def test_an_empty_stop_is_wrong_usage(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["generate", run, "--stop", ""])
    assert ended.value.code == 2
    assert "argument --stop: ''; expected some text" in capsys.readouterr().err


def test_the_help_shows_a_whole_question(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["generate", "--help"])
    assert 'cllm generate runs/squad-1 "Q: Who won the game?"' in capsys.readouterr().out


def test_no_page_shows_half_a_question() -> None:
    pages = Path(__file__).parents[2]
    shown = [page.read_text(encoding="utf-8") for page in (pages / "README.md", pages / "docs/reference/cli.md")]
    assert all('"Q: Who won the game?"' in text and '"Q: Who"' not in text for text in shown)
