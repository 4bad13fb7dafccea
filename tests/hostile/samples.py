"""Sound things that the tables spoil: prepared data, and a run of three steps, made once and copied for each case."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path

from cllm.cli import main
from tests.runs import TEXT

SMALL = ("model.block_size=16", "model.n_layer=1", "model.n_head=2", "model.n_embd=8", "train.steps=3",
         "train.batch_size=2", "train.threads=1", "train.digest_every=1", "checkpoint.every=2", "checkpoint.keep=9")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cllm-samples-")


def settings(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def _quietly(words: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(words) == 0


@cache
def _text() -> Path:
    path = Path(_folder().name) / "text.txt"
    path.write_text(TEXT[:4000])
    return path


@cache
def _prepared(name: str) -> Path:
    """"other": of a text with the same characters, so that its tokenizer is the same."""
    out = Path(_folder().name) / name
    text = Path(_folder().name) / f"{name}.txt"
    text.write_text(TEXT[:4000] if name == "data" else TEXT[3999::-1])
    _quietly(["prepare", "text", str(text), "--tokenizer", "char", "--out", str(out)])
    return out


@cache
def _trained() -> Path:
    out = Path(_folder().name) / "run"
    _quietly(["train", "--data", str(_prepared("data")), "--out", str(out), *settings(*SMALL)])
    return out


def text(folder: Path) -> Path:
    """A text file in `folder`."""
    return Path(shutil.copy(_text(), folder))


def prepared(folder: Path, name: str = "data") -> Path:
    """The folder of prepared data `folder/data`, of a char tokenizer; of another text, `folder/other`."""
    return Path(shutil.copytree(_prepared(name), folder / name))


def trained(folder: Path) -> Path:
    """The run folder `folder/run`, with checkpoints of steps 2 and 3, and records of steps 1 to 3."""
    return Path(shutil.copytree(_trained(), folder / "run"))
