"""Whole runs: what they report, how checks, signals and kills end them, and what they leave behind."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import cllm
from cllm import atomic, checkpoint, kernels, ledger
from cllm.builtin.text import TextConfig, TextDataset
from cllm.data import tokenfile
from cllm.data.prepare import prepare
from cllm.data.tokenizers import ByteTokenizer
from cllm.errors import ConfigError, DataError, InstabilityAbort, PluginError, RunFolderError, TokenFileError
from cllm.evaluate_run import evaluate_run
from cllm.hooks.manager import build_manager
from cllm.hooks.verdicts import Abort, LowerLR, Ok, SkipStep
from tests.runs import TEXT, config, digest_of, finish, leave_half_way, train
from tests.test_golden import OVERRIDES, RUNS


def test_a_resumed_run_has_the_ledger_of_an_undisturbed_one(tmp_path: Path) -> None:
    """That it ends in the same digest is in tests/test_golden.py."""
    leave_half_way(config(tmp_path, "train.threads=1"), tmp_path / "run")
    settings = config(tmp_path, "train.threads=3")
    finish(settings, tmp_path / "run")
    train(settings, tmp_path / "whole")
    assert ledger.read(tmp_path / "run" / "ledger.jsonl") == ledger.read(tmp_path / "whole" / "ledger.jsonl")


def test_loss_falls_and_metrics_are_written(tmp_path: Path) -> None:
    reports = train(config(tmp_path, "train.steps=60", "optimizer.learning_rate=0.01"), tmp_path / "run")
    assert reports[-1].loss < 0.75 * reports[0].loss
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 60
    assert lines[-1]["validation_loss"] == pytest.approx(reports[-1].validation_loss)


def test_epochs_become_steps(tmp_path: Path) -> None:
    settings = config(tmp_path, "train.epochs=0.1", "schedule.warmup_steps=0")
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        windows = trainer.parts.batches.windows_per_epoch
        assert trainer.n_steps == max(1, int(0.1 * windows / 5))


def test_steps_and_epochs_exclude_each_other_in_a_config_made_in_python(tmp_path: Path) -> None:
    settings = config(tmp_path)
    both = msgspec.structs.replace(settings, train=msgspec.structs.replace(settings.train, epochs=1.0))
    with pytest.raises(ConfigError, match=r"steps = 12 and epochs = 1\.0"):
        cllm.Trainer(both, tmp_path / "run")


class Verdict:
    """A check that answers as it was told at given batches."""

    def __init__(self, answers: dict[int, Any]) -> None:
        self.answers = answers

    def after_reduction(self, view: Any) -> Any:
        answer = self.answers.get(view.batch_index, Ok())
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_skipped_batch_changes_nothing_and_is_not_met_again(tmp_path: Path) -> None:
    with cllm.Trainer(config(tmp_path), tmp_path / "run", checks=[Verdict({3: SkipStep("odd")})]) as trainer:
        before = ""
        for report in trainer:
            if report.batch_index == 2:
                before = parameter_bits(trainer)
            if report.batch_index == 3:
                assert (report.decision, report.step) == ("skip", 3)
                assert parameter_bits(trainer) == before
                assert report.reasons == ("Verdict: odd",)
        assert trainer.state.skipped == [3]
        assert (trainer.state.step, trainer.state.batch_index) == (12, 13)


def test_a_run_without_a_validation_part_says_so_unless_none_was_asked_for(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with cllm.Trainer(settings, tmp_path / "with") as trainer:
        assert trainer.warnings == ()
    prepare(TextDataset(TextConfig(str(tmp_path / "text.txt"))), ByteTokenizer, tmp_path / "out", validation=0)
    path = f"data.path={tmp_path / 'out'}"
    with cllm.Trainer(config(tmp_path, path), tmp_path / "without") as trainer:
        assert len(trainer.warnings) == 1 and "no validation part" in trainer.warnings[0]
        list(trainer)
    with cllm.Trainer(config(tmp_path, path), resume=tmp_path / "without") as trainer:
        assert len(trainer.warnings) == 1
    with cllm.Trainer(config(tmp_path, path, "data.validation=0"), tmp_path / "none") as trainer:
        assert trainer.warnings == ()


def test_a_run_verifies_token_files_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenfile, "VERIFIED_AT_OPENING", 0)
    config(tmp_path)
    prepare(TextDataset(TextConfig(str(tmp_path / "text.txt"))), ByteTokenizer, tmp_path / "out")
    settings = config(tmp_path, f"data.path={tmp_path / 'out'}")
    leave_half_way(settings, tmp_path / "run")
    data = bytearray((tmp_path / "out/train.tokens").read_bytes())
    data[-200] ^= 1
    (tmp_path / "out/train.tokens").write_bytes(data)
    with pytest.raises(TokenFileError, match=r"train\.tokens: its content"):
        cllm.Trainer(settings, resume=tmp_path / "run")
    with pytest.raises(TokenFileError, match=r"train\.tokens: its content"):
        cllm.Trainer(settings, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def parameter_bits(trainer: Any) -> str:
    return trainer.state.parameters.tobytes().hex()


@pytest.mark.parametrize("answer", [Abort("enough"), ValueError("a bug"), None])
def test_abort_names_the_check_and_leaves_the_last_good_state(answer: Any, tmp_path: Path) -> None:
    with (
        cllm.Trainer(config(tmp_path), tmp_path / "run", checks=[Verdict({6: answer})]) as trainer,
        pytest.raises(InstabilityAbort, match="Verdict") as caught,
    ):
        list(trainer)
    assert caught.value.exit_code == 17
    assert trainer.state.step == 6
    advice = "begin a new run" if isinstance(answer, Abort) else "mend the check and go on"
    assert caught.value.todo.startswith(f"the state after step 6 is saved in {tmp_path / 'run'}; {advice}")
    assert digest_of(tmp_path / "run") == trainer.state.digest()  # the newest checkpoint before is of step 5


class Adding:
    """A reducer whose n-th merge fails; the bits of the built-in tree."""

    kind = "fold"

    def __init__(self, fails_at: int) -> None:
        self.left = fails_at

    def merge(self, left: Any, right: Any) -> None:
        self.left -= 1
        if not self.left:
            json.loads("{")
        kernels.add(left, right)

    def finish(self, total: Any, n_shards: int) -> None:
        pass


def test_a_failing_reducer_is_an_abort_and_the_run_goes_on_where_it_is_mended(tmp_path: Path) -> None:
    settings, run = config(tmp_path), tmp_path / "run"
    with (
        cllm.Trainer(settings, run, reducer=Adding(3 * 6 + 2)) as trainer,  # 4 shards, 3 merges a step
        pytest.raises(InstabilityAbort) as caught,
    ):
        list(trainer)
    assert re.fullmatch(
        r"reducer Adding failed: JSONDecodeError: .* \(test_trainer\.py:\d+\)", caught.value.came
    ), caught.value
    assert caught.value.who == "step 7" and isinstance(caught.value.__cause__, json.JSONDecodeError)
    assert caught.value.todo.startswith(f"the state after step 6 is saved in {run}; mend it and go on with: ")
    with cllm.Trainer(settings, resume=run, reducer=Adding(0)) as trainer:
        assert trainer.state.step == 6
        list(trainer)
    train(settings, tmp_path / "whole")
    assert digest_of(run) == digest_of(tmp_path / "whole")


class EveryThird:
    """A check that remembers how many steps it saw, and skips every third of them."""

    def __init__(self) -> None:
        self.n_seen = 0

    def after_reduction(self, view: Any) -> Any:
        self.n_seen += 1
        return Ok() if self.n_seen % 3 else SkipStep("the third")

    def state_dict(self) -> dict[str, int]:
        return {"n_seen": self.n_seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.n_seen = state["n_seen"]


@pytest.mark.parametrize("answer", [Abort("enough"), ValueError("a bug")])
def test_a_run_that_goes_on_after_an_abort_decides_as_one_without(answer: Any, tmp_path: Path) -> None:
    """What its checks remember has not met the batch of the abort, which is the first that they meet again."""
    settings, run = config(tmp_path, "checks.spike.warmup=2", "checks.spike.threshold=0.02"), tmp_path / "run"
    whole = train(settings, tmp_path / "whole", checks=[EveryThird()])
    before: list[Any] = []
    with (
        cllm.Trainer(settings, run, checks=[EveryThird(), Verdict({7: answer})]) as trainer,
        pytest.raises(InstabilityAbort),
    ):
        before.extend(trainer)
    with cllm.Trainer(settings, resume=run, checks=[EveryThird()]) as trainer:
        after = list(trainer)
    reports = [report for report in [*before, *after] if report.decision != "abort"]
    decided = [(report.batch_index, report.decision, report.reasons) for report in whole]
    assert [(report.batch_index, report.decision, report.reasons) for report in reports] == decided
    assert len({reason.split(":")[0] for _, _, reasons in decided for reason in reasons}) == 2  # both checks skip
    assert digest_of(run) == digest_of(tmp_path / "whole")


def test_a_check_that_loses_its_memory_is_an_abort_that_says_what_is_not_saved(tmp_path: Path) -> None:
    class Forgets(EveryThird):
        def state_dict(self) -> dict[str, int]:
            if self.n_seen >= 6:
                raise RuntimeError("lost")
            return super().state_dict()

    settings = config(tmp_path, "checkpoint.every=2")
    lost = r"RuntimeError: lost \(test_trainer\.py:\d+\)"
    with cllm.Trainer(settings, tmp_path / "run", checks=[Forgets()]) as trainer:
        with pytest.raises(InstabilityAbort, match=f"Forgets: the check failed: {lost}; .* not be saved \\({lost}\\)"):
            list(trainer)
        assert not trainer.is_saved


@pytest.mark.parametrize("first", [0, 5, 7])
def test_ten_skips_in_a_row_end_the_run_and_are_saved(first: int, tmp_path: Path) -> None:
    """At the start, after a step that was saved (every fifth is), and after one that was not."""
    checks = [Verdict({n: SkipStep("never") for n in range(first, first + 20)})]
    with cllm.Trainer(config(tmp_path), tmp_path / "run", checks=checks) as trainer:
        with pytest.raises(InstabilityAbort, match=f"10 batches in a row .* after step {first} is saved in"):
            list(trainer)
        assert (trainer.state.step, trainer.state.batch_index) == (first, first + 10)
    assert digest_of(tmp_path / "run") == trainer.state.digest()


def test_a_state_that_is_not_finite_is_not_saved_at_an_abort(tmp_path: Path) -> None:
    with cllm.Trainer(config(tmp_path), tmp_path / "run", checks=[Verdict({6: Abort("enough")})]) as trainer:
        with pytest.raises(InstabilityAbort, match=r"enough.*after step 6 could not be saved .* is not finite"):
            for report in trainer:
                if report.step == 6:
                    trainer.state.parameters[3] = math.nan
        assert not trainer.is_saved
    saved = checkpoint.load_newest(tmp_path / "run" / "checkpoints")
    assert saved is not None and saved.snapshot.step == 5


def test_a_lower_learning_rate_is_used(tmp_path: Path) -> None:
    usual = train(config(tmp_path), tmp_path / "usual")
    lowered = train(config(tmp_path), tmp_path / "lowered", checks=[Verdict({5: LowerLR(0.5, "slower")})])
    assert lowered[5].learning_rate == 0.5 * usual[5].learning_rate


def test_a_diverging_run_stops_with_finite_parameters(tmp_path: Path) -> None:
    settings = config(tmp_path, "optimizer.learning_rate=1e30", "checks.spike=false", "checks.clip=false")
    with cllm.Trainer(settings, tmp_path / "run") as trainer:
        with pytest.raises(InstabilityAbort, match="finite"):
            list(trainer)
        assert trainer.state.step < 12


def test_numeric_keys_may_not_change_on_resume(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"train\.batch_size was 5, is 6"):
        cllm.Trainer(config(tmp_path, "train.batch_size=6"), resume=tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "came"),
    [
        ("optimizer.name=sgd", "optimizer.name was 'adamw', is 'sgd'"),
        ("schedule.name=constant", "schedule.name was 'cosine', is 'constant'"),
        ("reducer.name=ordered", "reducer.name was 'tree', is 'ordered'"),
        ("checks.spike.name=clip", "checks.spike.name was 'spike', is 'clip'"),
        ("checks.spike=false", "checks.spike.name was 'spike', is None"),
        ("data.tokenizer=char", "data.tokenizer was 'byte', is 'char'"),
        ("train.steps=2", "train.steps = 2, and the run has made 12 already"),
    ],
)
def test_what_differs_on_resume_is_named_and_nothing_is_written(override: str, came: str, tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    before = (tmp_path / "run" / "config.toml").read_text()
    wanted = cllm.load_config(tmp_path / "run" / "config.toml", [override])
    with pytest.raises(ConfigError) as caught:
        cllm.Trainer(wanted, resume=tmp_path / "run")
    assert (caught.value.who, caught.value.came) == ("resume", came)
    assert "numeric" not in caught.value.expected
    assert (tmp_path / "run" / "config.toml").read_text() == before


def rewritten(config_of_run: Any, text: str) -> Any:
    """The config of a run whose text has been written anew since."""
    Path(config_of_run.data.path).write_text(text)
    return config_of_run


@pytest.mark.parametrize(
    ("tokenizer", "text", "what"),
    [
        ("byte", TEXT.replace("cube", "tube"), "the text has changed"),
        ("char", TEXT.replace("q", "Q"), "the tokenizer has changed"),
        ("char", TEXT + "~", "the tokenizer has changed"),  # more characters than the model has tokens
    ],
)
def test_another_text_is_refused_on_resume_and_in_eval(tokenizer: str, text: str, what: str, tmp_path: Path) -> None:
    settings, run = config(tmp_path, f"data.tokenizer={tokenizer}"), tmp_path / "run"
    train(settings, run)
    wanted = config(tmp_path, f"data.tokenizer={tokenizer}", "train.steps=15", "schedule.decay_steps=12")
    with pytest.raises(DataError, match=f"resume: {what}.* and was .*bring it back, or .* --init-from"):
        cllm.Trainer(rewritten(wanted, text), resume=run)
    with pytest.raises(DataError, match=f"eval: {what}"):
        evaluate_run(run, build_manager())
    with cllm.Trainer(rewritten(wanted, TEXT), resume=run) as trainer:
        assert len(list(trainer)) == 3


def test_a_run_holds_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    train(config(tmp_path, "data.path=text.txt", OVERRIDES["plain"]), Path("run"))
    assert digest_of(tmp_path / "run") == RUNS["plain"]  # no path enters it
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert evaluate_run(Path("../run"), build_manager()).validation.n_tokens > 0
    resumed = cllm.load_config("../run/config.toml", ["train.steps=13"])
    with cllm.Trainer(resumed, resume="../run") as trainer:
        assert len(list(trainer)) == 1


def test_a_text_that_has_moved_is_the_same_text(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    (tmp_path / "text.txt").rename(tmp_path / "moved.txt")
    overrides = ["train.steps=13", f"data.path={tmp_path / 'moved.txt'}"]
    with cllm.Trainer(cllm.load_config(tmp_path / "run/config.toml", overrides), resume=tmp_path / "run") as trainer:
        assert len(list(trainer)) == 1


def test_more_steps_on_resume_keep_the_schedule(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    settings = config(tmp_path, "train.steps=15", "schedule.decay_steps=12")
    with cllm.Trainer(settings, resume=tmp_path / "run") as trainer:
        assert trainer.state.step == 12
        assert len(list(trainer)) == 3


def test_a_used_folder_is_refused_and_a_failed_start_leaves_none(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    with pytest.raises(RunFolderError):
        cllm.Trainer(config(tmp_path), tmp_path / "run")
    with pytest.raises(ConfigError):
        cllm.Trainer(config(tmp_path, "optimizer.name=adamq"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_weights_of_another_run_are_the_start(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    with cllm.Trainer(config(tmp_path), tmp_path / "next", init_from=tmp_path / "run") as trainer:
        weights = checkpoint.load_newest(tmp_path / "run" / "checkpoints").snapshot.parameters  # type: ignore[union-attr]
        assert all((view == weights[name]).all() for name, view in trainer.state.views().items())


def test_weights_of_another_run_survive_an_early_kill(tmp_path: Path) -> None:
    train(config(tmp_path), tmp_path / "run")
    with cllm.Trainer(config(tmp_path), tmp_path / "next", init_from=tmp_path / "run") as trainer:
        start = parameter_bits(trainer)
    with cllm.Trainer(config(tmp_path), resume=tmp_path / "next") as trainer:
        assert (trainer.state.step, parameter_bits(trainer)) == (0, start)


CHILD = """
import signal, sys, cllm
from pathlib import Path
from tests.runs import config
signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent may ignore it
folder, threads, resume = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "1"
settings = config(folder, f"train.steps={sys.argv[4]}", "checkpoint.every=3", f"train.threads={threads}")
run = folder / "run"
with cllm.Trainer(settings, None if resume else run, resume=run if resume else None) as trainer:
    for report in trainer:
        print(report.step, flush=True)
"""


def child(folder: Path, n_threads: int, resume: bool, n_steps: int = 60) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), str(n_threads), str(int(resume)), str(n_steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_is_answered_quickly_and_saves(tmp_path: Path) -> None:
    with child(tmp_path, 2, False) as process:
        assert process.stdout is not None
        process.stdout.readline()
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - begin < 5.0
    saved = checkpoint.load_newest(tmp_path / "run" / "checkpoints")
    assert saved is not None
    assert saved.snapshot.step >= 1


@pytest.fixture
def interrupted_saves(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Ctrl-C comes as often as the list says in the middle of each save."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    times = [0]
    write = atomic.write_verified

    def interrupted(path: Path, parts: Any) -> str:
        if path.name == checkpoint.MODEL:
            for _ in range(times[0]):
                signal.raise_signal(signal.SIGINT)
        return write(path, parts)

    monkeypatch.setattr(atomic, "write_verified", interrupted)
    yield times
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("n_more", "is_saved"), [(0, True), (1, True), (2, False)])
def test_a_second_ctrl_c_waits_for_the_save_and_a_third_does_not(
    n_more: int, is_saved: bool, interrupted_saves: list[int], tmp_path: Path
) -> None:
    with cllm.Trainer(config(tmp_path), tmp_path / "run") as trainer:
        with pytest.raises(KeyboardInterrupt):
            for report in trainer:
                if report.step == 7:
                    signal.raise_signal(signal.SIGINT)
                    interrupted_saves[0] = n_more
        assert (trainer.state.step, trainer.is_saved) == (7, is_saved)
    saved = checkpoint.load_newest(tmp_path / "run" / "checkpoints")
    assert saved is not None and saved.snapshot.step == (7 if is_saved else 5)
    assert not list(tmp_path.rglob(f"{atomic.TEMPORARY}*"))


@pytest.mark.parametrize("factor", [math.nan, math.inf, -1.0, "0.5", None])
def test_a_schedule_that_would_spoil_the_parameters_is_refused(tmp_path: Path, factor: Any) -> None:
    """Without a check of its own: a learning rate that is no number is no reason to write NaN into the parameters."""
    with cllm.Trainer(config(tmp_path), tmp_path / "run") as trainer:
        before = trainer.state.digest()
        trainer.parts = dataclasses.replace(trainer.parts, schedule=lambda step: factor)
        with pytest.raises(PluginError, match=f"schedule cosine: {re.escape(repr(factor))} at step 0"):
            next(iter(trainer))
        assert trainer.state.digest() == before


def test_what_is_added_to_the_loss_is_added_in_training_alone(tmp_path: Path) -> None:
    losses = {}
    for option in ("label_smoothing=0.0", "label_smoothing=0.5", "z_loss=0.1"):
        settings = (f"train.{option}", "optimizer.learning_rate=1e-30", "train.steps=3", "train.eval_every=1")
        reports = train(config(tmp_path, *settings), tmp_path / option)
        losses[option] = reports[0].loss, reports[0].validation_loss
    plain, *others = losses.values()
    for trained, validated in others:
        assert trained != plain[0]
        assert validated == plain[1]
