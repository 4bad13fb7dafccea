"""The one-file plugin of the docs, loaded as a user loads it: it stops a run and its name is in the message."""

from __future__ import annotations

import math
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from cllm.cli import main
from cllm.hooks import Abort, GradientView, Ok

ROOT = Path(__file__).resolve().parent.parent
MY_CHECK = ROOT / "docs" / "examples" / "my_check.py"
TINY = (
    "model.block_size=16", "model.n_layer=1", "model.n_head=2", "model.n_embd=16", "train.steps=4",
    "train.batch_size=4", "train.eval_every=0", "sinks.console=false",
)
VIEW = GradientView(
    step=0, batch_index=0, loss=1.0, gradient_norm=1.0, finite=True, learning_rate=1e-3, shard_losses=(1.0,),
    weight_sum=1.0, parameter_norm=lambda name: 1.0,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_check.py").write_bytes(MY_CHECK.read_bytes())
    Path("book.txt").write_text("".join(f"{n} and {n} make {2 * n}.\n" for n in range(400)))


def train(*words: str) -> int:
    sets = [word for value in TINY for word in ("--set", value)]
    return main(["train", "--data", "book.txt", "--out", "run", *sets, *words])


def test_it_stops_a_run_with_its_name_in_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    # A fresh model of bytes begins at a loss of log(256) = 5.55.
    assert train("-p", "./my_check.py", "--set", "checks.my_check.limit=5.0") == 17
    error = capsys.readouterr().err
    assert "step 1: my_check: loss 5." in error
    assert "is above 5.0" in error


def test_the_message_has_the_label_of_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text('[data]\npath = "book.txt"\n[checks.too_high]\nname = "my_check"\nlimit = 5.0\n')
    sets = [word for value in TINY for word in ("--set", value)]
    assert main(["train", "run.toml", "-p", "./my_check.py", *sets]) == 17
    assert "too_high: loss 5." in capsys.readouterr().err


def test_below_the_limit_the_run_ends_well() -> None:
    assert train("-p", "./my_check.py", "--set", "checks.my_check=true") == 0


def test_without_the_plugin_its_name_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--set", "checks.my_check=true") == 2
    error = capsys.readouterr().err
    assert 'name = "my_check"' in error and "or load the plugin that has it: -p FILE" in error


@pytest.mark.parametrize(
    ("loss", "verdict"), [(1.0, Ok), (2.0, Ok), (2.1, Abort), (math.inf, Abort), (math.nan, Abort)]
)
def test_verdicts(loss: float, verdict: type) -> None:
    plugin = runpy.run_path(str(MY_CHECK))
    (spec,) = plugin["cllm_register_stability_checks"]()
    check = spec.factory(spec.config(limit=2.0))
    assert isinstance(check.after_reduction(replace(VIEW, loss=loss)), verdict)


def test_it_is_as_short_as_the_docs_say() -> None:
    code = [line for line in MY_CHECK.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 20
