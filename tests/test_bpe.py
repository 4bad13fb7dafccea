"""Runs with the tokenizer bpe: prepared or not, mixed, measured, resumed; on one tokenizer.json wherever it lies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm.cli import main
from cllm.data.tokenfile import TokenFile
from cllm.data.tokenizerfile import load_tokenizer
from cllm.evaluate_run import evaluate_run
from cllm.hooks.manager import build_manager
from tests.data.helpers import huggingface_tokenizers
from tests.runs import TEXT, config, digest_of, train

LEARN = ("data.tokenizer=bpe", "data.tokenizer_options.vocab_size=400")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    huggingface_tokenizers()
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT)
    Path("other.txt").write_text("Naïve – “日本語” – the square of the circle.\n" * 200)
    return tmp_path


def prepare(*words: str) -> None:
    assert main(["prepare", "text", *words]) == 0


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_preparing_twice_makes_the_same_files(capsys: pytest.CaptureFixture[str]) -> None:
    for out in ("one", "two"):
        prepare("text.txt", "--tokenizer", "bpe", "--vocab-size", "400", "--out", out)
        assert "(bpe, vocabulary 400)\n" in capsys.readouterr().out
    assert contents("one") == contents("two") and len(contents("one")) == 4


def test_a_tokenizer_that_is_there_is_used_for_other_text(capsys: pytest.CaptureFixture[str]) -> None:
    prepare("text.txt", "--tokenizer", "bpe", "--vocab-size", "400", "--out", "one")
    prepare("other.txt", "--tokenizer", "one/tokenizer.json", "--out", "two")
    assert contents("one")["tokenizer.json"] == contents("two")["tokenizer.json"]
    tokens = [TokenFile.open(f"two/{part}.tokens").tokens for part in ("train", "validation")]
    tokenizer = load_tokenizer(Path("two/tokenizer.json"))
    assert sorted("".join(map(tokenizer.decode, tokens))) == sorted(Path("other.txt").read_text())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokenizer", "bpe", "--vocab-size", "255"], "vocab_size = 255; expected a whole number, 256 to"),
        (["--tokenizer", "char", "--vocab-size", "400"], "vocab_size; expected no options at all"),
        (["--tokenizer", "one/tokenizer.json", "--vocab-size", "400"], "vocab_size for one/tokenizer.json, which has"),
    ],
)
def test_options_that_mean_nothing_are_wrong_usage(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "text", "text.txt", *words, "--out", "x"]) == 2
    assert message in capsys.readouterr().err and not Path("x").exists()


def test_a_run_learns_its_tokens_from_its_text_and_keeps_them(folder: Path) -> None:
    settings = config(folder, "data.loader=text", "data.source=text.txt", *LEARN)
    train(settings, Path("run"))
    saved = cllm.load_config("run/config.toml")
    assert (saved.data.tokenizer_options, saved.model.vocab_size) == ({"vocab_size": 400}, 400)
    assert len(list(Path("run/data").iterdir())) == 1
    text = cllm.load("run").generate("The square", 20, seed=1)
    assert text and cllm.load("run").generate("The square", 20, seed=1) == text
    with cllm.Trainer(cllm.load_config("run/config.toml", ["train.steps=14"]), resume="run") as trainer:
        assert len(list(trainer)) == 2
    assert len(list(Path("run/data").iterdir())) == 1  # a default that is written out is the same option


def test_bits_per_byte_are_over_the_bytes_of_the_text(folder: Path) -> None:
    train(config(folder, "data.path=other.txt", *LEARN, "train.steps=3"), Path("run"))
    measured = evaluate_run(Path("run"), build_manager()).validation
    assert measured is not None
    (prepared,) = Path("run/data").iterdir()
    tokenizer: Any = load_tokenizer(prepared / "tokenizer.json")
    targets = TokenFile.open(prepared / "validation.tokens").tokens[1:]
    assert (measured.n_tokens, measured.n_bytes) == (len(targets), tokenizer.n_bytes(targets))
    assert measured.n_bytes and measured.n_bytes > 1.5 * measured.n_tokens


def test_prepared_text_and_text_that_is_not_give_the_same_run(folder: Path) -> None:
    prepare("text.txt", "--tokenizer", "bpe", "--vocab-size", "400", "--out", "one")
    ways = {
        "prepared": ["data.path=one"], "learned": ["data.path=text.txt", *LEARN],
        "file": ["data.path=text.txt", "data.tokenizer=one/tokenizer.json"],
    }  # fmt: skip
    for name, overrides in ways.items():
        train(config(folder, *overrides, "train.steps=3"), Path(name))
    assert len({digest_of(Path(name)) for name in ways}) == 1
    written = [(next(Path(name, "checkpoints").iterdir()) / "tokenizer.json").read_bytes() for name in ways]
    assert written == [Path("one/tokenizer.json").read_bytes()] * 3


def test_a_tokenizers_file_may_move_but_not_change(folder: Path) -> None:
    prepare("text.txt", "--tokenizer", "bpe", "--vocab-size", "400", "--out", "one")
    shutil.copy("one/tokenizer.json", "mine.json")
    train(config(folder, "data.path=text.txt", "data.tokenizer=mine.json", "train.steps=3"), Path("run"))
    Path("mine.json").rename("moved.json")
    moved = cllm.load_config("run/config.toml", ["data.tokenizer=moved.json", "train.steps=4"])
    with cllm.Trainer(moved, resume="run") as trainer:
        assert len(list(trainer)) == 1
    form = json.loads(Path("moved.json").read_text())
    form["model"]["merges"].pop()
    Path("moved.json").write_text(json.dumps(form))
    with pytest.raises(cllm.errors.DataError, match="the tokenizer has changed"):
        cllm.Trainer(moved, resume="run")


def test_two_texts_of_one_tokenizer_are_mixed(folder: Path) -> None:
    prepare("text.txt", "--tokenizer", "bpe", "--vocab-size", "400", "--out", "one")
    prepare("other.txt", "--tokenizer", "one/tokenizer.json", "--out", "two")
    mixture = "data.mixture=[{path='one', weight=3}, {path='two'}]"
    settings = cllm.load_config(None, [mixture, "model.n_layer=1", "train.steps=2", "train.batch_size=2"])
    assert len(train(settings, Path("run"))) == 2
