"""What is measured besides the validation part: other texts by name, and samples of what the model writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import cllm
from cllm.assemble import outline
from cllm.cli import main
from cllm.decoder import Decoder
from cllm.errors import ConfigError, DataError
from cllm.evaluate_run import evaluate_run
from cllm.hooks.manager import build_manager
from tests.runs import TEXT, config, digest_of, finish, leave_half_way, train


@pytest.fixture
def others(tmp_path: Path) -> list[str]:
    (tmp_path / "letters.txt").write_text("A letter is not a number, and a number is no letter.\n" * 40)
    (tmp_path / "same.txt").write_text(TEXT)
    return [f'data.evaluate={{letters="{tmp_path}/letters.txt", same="{tmp_path}/same.txt"}}']


def test_others_are_measured_and_change_nothing(
    tmp_path: Path, others: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(config(tmp_path), tmp_path / "plain")
    reports = train(config(tmp_path, *others, "train.eval_batches=0", "sinks.console=true"), tmp_path / "run")
    assert digest_of(tmp_path / "plain") == digest_of(tmp_path / "run")
    assert [report.loss for report in plain] == [report.loss for report in reports]
    evaluated = [report for report in reports if report.evaluations]
    assert [report.step for report in evaluated] == [6, 12]
    for report in evaluated:
        assert set(report.evaluations) == {"letters", "same"}
        assert report.evaluations["letters"] > report.evaluations["same"]
    found = evaluate_run(tmp_path / "run", build_manager())
    assert {name: one.loss for name, one in found.others.items()} == evaluated[-1].evaluations
    assert found.validation is not None and found.validation.loss == evaluated[-1].validation_loss
    line = next(line for line in capsys.readouterr().err.splitlines() if "step 12/12" in line)
    assert f"letters {evaluated[-1].evaluations['letters']:.4f}  same" in line
    assert main(["eval", str(tmp_path / "run")]) == 0
    told_lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0][:7] for line in told_lines] == ["loss 5.", "letters", "same"]
    assert main(["eval", str(tmp_path / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["others"]["same"]["loss"] == evaluated[-1].evaluations["same"]


def test_they_may_be_all_there_is_to_measure_and_may_change_on_resume(tmp_path: Path, others: list[str]) -> None:
    settings = config(tmp_path, *others, "data.validation=0")
    leave_half_way(settings, tmp_path / "run")
    finish(config(tmp_path, "data.validation=0", f'data.evaluate.other="{tmp_path}/same.txt"'), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert set(lines[-1]["evaluations"]) == {"other"} and lines[-1]["validation_loss"] is None
    found = evaluate_run(tmp_path / "run", build_manager())
    assert found.validation is None and list(found.others) == ["other"]


def test_prepared_data_gives_its_part_for_validation(tmp_path: Path) -> None:
    settings = config(tmp_path)
    assert main(["prepare", "text", str(tmp_path / "text.txt"), "--out", str(tmp_path / "data")]) == 0
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        own = trainer.parts.data.validation
    with cllm.Trainer(config(tmp_path, f'data.evaluate.mine="{tmp_path}/data"'), tmp_path / "other") as trainer:
        assert trainer.parts.data.others["mine"].n_tokens == own.n_tokens  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("override", "error", "came"),
    [
        ('data.evaluate={" "="x"}', ConfigError, "letters, digits"),
        ('data.evaluate.there="no/such/file.txt"', DataError, "no/such/file.txt"),
        ("data.evaluate=3", ConfigError, "evaluate"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path: Path, override: str, error: Any, came: str) -> None:
    with pytest.raises(error, match=came):
        cllm.Trainer(config(tmp_path, override), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_tokens_are_refused(tmp_path: Path) -> None:
    config(tmp_path)
    text, out = str(tmp_path / "text.txt"), str(tmp_path / "c")
    assert main(["prepare", "text", text, "--tokenizer", "char", "--out", out]) == 0
    with pytest.raises(DataError, match=r"\[data.evaluate\] chars: .* has other tokens"):
        cllm.Trainer(config(tmp_path, f'data.evaluate.chars="{tmp_path}/c"'), tmp_path / "run")


SAMPLES = ("train.sample_tokens=12", "train.sample_prompt='The square'")


def test_samples_are_those_of_the_model_and_change_nothing(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "plain")
    reports = train(config(tmp_path, *SAMPLES), tmp_path / "run")
    assert digest_of(tmp_path / "plain") == digest_of(tmp_path / "run")
    samples = {report.step: report.sample for report in reports if report.sample is not None}
    assert list(samples) == [6, 12]
    model = cllm.load(tmp_path / "run")
    assert samples[12] == model.generate("The square", 12, seed=1337)
    with cllm.Trainer(config(tmp_path, *SAMPLES, "train.threads=3"), tmp_path / "three") as trainer:
        assert {r.step: r.sample for r in trainer if r.sample is not None} == samples


def test_samples_are_shown_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(config(tmp_path, *SAMPLES, "sinks.console=true", "sinks.csv=true", "train.eval_every=1"), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len([line for line in lines if line["sample"]]) == 12
    assert repr(lines[-1]["sample"]) in capsys.readouterr().err
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "<h2>Samples</h2>" in page and page.count("<td><pre>") == 6


def test_memory_of_samples_is_estimated(tmp_path: Path) -> None:
    with cllm.Trainer(config(tmp_path, *SAMPLES, "train.threads=1"), tmp_path / "run") as trainer:
        parts = trainer.parts
        memory = outline(parts.config, parts.data, trainer.plugins).memory["samples"]
        assert parts.decoding is not None
        decoder = Decoder(parts.decoding, parts.measured, parts.n_threads)
        workers = decoder._workers
        assert memory == sum(held.nbytes for held in (decoder._packed, *workers.arenas, *workers._scratch))
