"""Runs that learn from answers alone: what they count, that they learn it, and that nothing else decides their bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cllm
from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.cli import main
from cllm.data.prepare import prepare
from cllm.data.tokenizers import ByteTokenizer
from cllm.errors import ConfigError, DataError
from cllm.evaluate_run import evaluate_run
from cllm.hooks.manager import build_manager
from tests.data.helpers import shared
from tests.runs import config, digest_of, finish, leave_half_way, train


def questions(folder: Path, *more: str) -> Any:
    """What is asked cannot be foretold, and what is answered can."""
    records = [{"question": f"{(n * 7919) % 10007}", "answer": "no"} for n in range(1, 800)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    how = ("data.options.template=Q{question}A{answer}", "data.options.answers=[\"answer\"]", "data.loss=answers")
    base = config(folder)
    source = {"data": {"loader": "jsonl", "source": str(folder / "questions.jsonl")}}
    tables = {**cllm.config.to_mapping(base), **source}
    return cllm.load_config(None, [*how, *more], tables)


LEARNS = ("train.steps=60", "train.batch_size=8", "optimizer.learning_rate=0.01", "train.eval_every=60")


def test_the_loss_of_answers_falls_below_what_questions_allow(tmp_path: Path) -> None:
    reports = train(questions(tmp_path, *LEARNS), tmp_path / "run")
    assert reports[-1].validation_loss < 0.4 < 0.1 * reports[0].loss
    # Four of nine bytes are as good as random digits: who counts them too cannot come below 4/9 ln 10 = 1.02.
    everything = train(questions(tmp_path, *LEARNS, "data.loss=all"), tmp_path / "all")
    assert everything[-1].validation_loss > 0.9
    measured = evaluate_run(tmp_path / "run", build_manager()).validation
    with cllm.Trainer(questions(tmp_path, *LEARNS), tmp_path / "look") as trainer:
        validation = trainer.parts.data.validation
        assert validation is not None
        [file] = validation.parts
        n_answered = int(file.is_answer(np.arange(1, file.n_tokens)).sum())
    assert measured is not None and measured.n_tokens == n_answered == measured.n_bytes  # "no\n" of each document


def test_the_same_bits_at_one_and_two_threads_and_after_a_resume(tmp_path: Path) -> None:
    digests = set()
    for threads in (1, 2):
        train(questions(tmp_path, f"train.threads={threads}"), tmp_path / f"run-{threads}")
        digests.add(digest_of(tmp_path / f"run-{threads}"))
    leave_half_way(questions(tmp_path), tmp_path / "cut")
    finish(questions(tmp_path), tmp_path / "cut")
    assert digests == {digest_of(tmp_path / "cut")}


def test_a_run_goes_on_with_the_loss_that_it_began_with(tmp_path: Path) -> None:
    leave_half_way(questions(tmp_path), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"data\.loss was 'answers', is 'all'"):
        cllm.Trainer(questions(tmp_path, "data.loss=all"), resume=tmp_path / "run")


def test_the_same_text_with_other_answers_is_other_data(tmp_path: Path) -> None:
    for name, answers in (("one", ["answer"]), ("two", ["question"])):
        (tmp_path / "a.jsonl").write_text('{"question": "why", "answer": "so"}\n' * 30)
        options = ["--set", "template={question} {answer}", "--set", f"answers={json.dumps(answers)}"]
        assert main(["prepare", "jsonl", str(tmp_path / "a.jsonl"), *options, "--out", str(tmp_path / name)]) == 0
    settings = [config(tmp_path, f"data.path={tmp_path / name}", "data.loss=answers") for name in ("one", "two")]
    leave_half_way(settings[0], tmp_path / "run")
    with pytest.raises(DataError, match="the text has changed"):
        cllm.Trainer(settings[1], resume=tmp_path / "run")


def test_text_without_answers_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no answers among its .*prepare it with the loader squad"):
        cllm.Trainer(config(tmp_path, "data.loss=answers"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validation_needs_answers_too(tmp_path: Path) -> None:
    """The last line, in which there is none, is held out."""
    lines = [f'{{"q": "question {n}", "a": "{"" if n > 40 else n}"}}\n' for n in range(60)]
    (tmp_path / "train.jsonl").write_text("".join(lines[:40]))
    (tmp_path / "test.jsonl").write_text("".join(lines[41:]))
    words = ["prepare", "jsonl", str(tmp_path / "train.jsonl"), "--validation-source", str(tmp_path / "test.jsonl")]
    more = ["--set", "template={q}: {a}", "--set", 'answers=["a"]', "--set", "end=", "--out", str(tmp_path / "out")]
    assert main([*words, *more]) == 0
    with pytest.raises(DataError, match=r"validation\.tokens has no answers"):
        cllm.Trainer(config(tmp_path, f"data.path={tmp_path / 'out'}", "data.loss=answers"), tmp_path / "run")


def test_a_dry_run_counts_the_windows_that_are_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(SquadDataset(SquadConfig(str(shared("xquad.en.json")))), ByteTokenizer, tmp_path / "out")
    counted = {}
    for loss in ("all", "answers"):
        words = ["train", "--data", str(tmp_path / "out"), "--dry-run", "--json", "--set", f"data.loss={loss}"]
        assert main([*words, "--set", "model.block_size=32"]) == 0
        counted[loss] = json.loads(capsys.readouterr().out)["windows_per_epoch"]
    assert counted["all"] == (261_974 - 32) // 32 and 1000 < counted["answers"] < counted["all"] // 2
