"""`cllm train`: how signals and checks end it, and what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cllm import checkpoint
from cllm.cli import main
from tests.runs import TEXT
from tests.test_cli import SMALL

# What the parent ignores, it would ignore as well.
CHILD = """
import signal, sys
from cllm.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
sys.exit(main())
"""
LONG = [*SMALL, "--set", "train.steps=1000000", "--set", "train.eval_every=0", "--set", "train.log_every=1"]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "book.txt").write_text(TEXT)
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_last_step_and_says_how_to_go_on(number: signal.Signals, code: int, book: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, "train", "--data", "book.txt", *LONG, "--out", "run"], cwd=book,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()  # training has begun
        process.send_signal(number)
        printed, errors = process.communicate(timeout=60)
    saved = checkpoint.load_newest(book / "run" / "checkpoints")
    assert saved is not None
    last = f"stopped after step {saved.snapshot.step}; go on with: cllm train --resume run"
    assert (process.returncode, printed, errors.splitlines()[-1]) == (code, "", last)
    assert "Traceback" not in errors


def test_a_save_that_is_broken_off_is_not_claimed(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(book)
    monkeypatch.setattr(checkpoint, "save", lambda *_, **__: [signal.raise_signal(signal.SIGINT) for _ in range(3)])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["train", "--data", "book.txt", *SMALL, "--out", "run"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "stopped after step 4, which is not saved; go on with: cllm train --resume run" in capsys.readouterr().err


def test_tokens_without_a_tokenizer_make_a_run_that_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tokens.bin").write_bytes(bytes(b for n in range(5000) for b in (n * n % 61, 0)))  # nanoGPT's form
    assert main(["train", "--data", "tokens.bin", *SMALL, "--out", "run"]) == 0
    printed = capsys.readouterr().out
    assert "cannot write text" in printed and "Run folder: run\nNext: cllm eval run    cllm digest run\n" in printed
    assert main(["eval", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bits_per_byte"] is None
    assert main(["generate", "run", "Q"]) == 1
    ended = capsys.readouterr()
    assert (ended.out, ended.err[:44]) == ("", "cllm: generate: a model of token files that ")


PLUGIN = """
from cllm.data.tokenizers import ByteTokenizer
from cllm.hooks import TokenizerSpec, hookimpl

class Mine(ByteTokenizer):
    name = "mine"

    def to_json(self):
        return {"name": "mine"}

    @classmethod
    def from_json(cls, data):
        return cls()

@hookimpl
def cllm_register_tokenizers():
    yield TokenizerSpec("mine", "bytes again", Mine)
"""


def test_the_sample_is_written_with_the_plugins_of_the_run(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(book)
    Path("mine.py").write_text(PLUGIN)
    assert main(["train", "--data", "book.txt", *SMALL, "-p", "./mine.py", "--set", "data.tokenizer=mine"]) == 0
    assert "What the model writes:" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_missed_by_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(tmp_path / "nowhere")]) == 1
    assert f"cllm: resume: there is no folder {tmp_path / 'nowhere'}; expected" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["train", "--resume", str(tmp_path / "file")]) == 1
    assert f"cllm: resume: {tmp_path / 'file'} is a file; expected the folder of a run" in capsys.readouterr().err


def test_json_is_a_line_for_each_step_and_nothing_else(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(book)
    assert main(["train", "--data", "book.txt", *SMALL, "--out", "run", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.out == Path("run/metrics.jsonl").read_text()
    assert [json.loads(line)["step"] for line in printed.out.splitlines()] == [1, 2, 3, 4]
    assert printed.err.endswith("Run folder: run\n")
    assert main(["train", "--resume", "run", "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_json_has_the_step_at_which_a_check_stops_the_run(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(book)
    high = ["--set", "optimizer.learning_rate=1e30", "--set", "checks.clip=false", "--set", "checks.spike=false"]
    assert main(["train", "--data", "book.txt", *SMALL, *high, "--json"]) == 17
    *_, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (last["decision"], last["loss"]) == ("abort", "nan")


def test_data_is_what_a_loader_reads_where_one_is_named(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(book)
    Path("lines.jsonl").write_text("".join(f'{{"text": "line {n}"}}\n' for n in range(200)))
    words = ["train", "--data", "lines.jsonl", *SMALL, "--dry-run"]
    assert main([*words, "--set", "data.loader=jsonl"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert 'loader = "jsonl"\nsource = "' in printed.out
    assert main(words) == 0
    printed = capsys.readouterr()
    said = "cllm: warning: lines.jsonl is read as plain text; for its fields add --set data.loader=jsonl\n"
    assert (printed.err, 'path = "' in printed.out) == (said, True)
