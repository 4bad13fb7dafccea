"""Whole runs with the installed plugin: it clips, to the same bits on any threads and after a resume."""

from __future__ import annotations

import json
from pathlib import Path

import cllm
import pytest
from cllm.cli import main
from cllm.hooks.manager import build_manager

CONFIG = """\
name = "zclip"
[model]
block_size = 16
n_layer = 1
n_head = 2
n_embd = 16
[data]
path = "text.txt"
[train]
steps = 30
batch_size = 4
eval_every = 30
eval_batches = 1
log_every = 1
digest_every = 30
[optimizer]
name = "adamw"
learning_rate = 0.3  # too high, so that there are spikes
[checkpoint]
every = 15
[sinks]
console = false
[checks]
spike = false
clip = false
[checks.zclip]
name = "zclip.norm"
warmup = 5
z_threshold = 1.0
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("".join(f"{n} and {n} make {2 * n}.\n" for n in range(400)))
    Path("run.toml").write_text(CONFIG)


def digest(run: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["digest", run]) == 0
    return capsys.readouterr().out


def clips(run: str) -> list[float]:
    return [json.loads(line)["clip"] for line in Path(run, "metrics.jsonl").read_text().splitlines()]


def test_it_clips_with_the_same_bits_however_it_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    for threads in ("1", "2"):
        assert main(["train", "run.toml", "--threads", threads, "--out", threads]) == 0
    assert digest("1", capsys) == digest("2", capsys)
    assert clips("1") == clips("2") and set(clips("1")[:5]) == {1.0}
    assert any(0.0 < clip < 1.0 for clip in clips("1"))
    with cllm.Trainer(cllm.load_config("run.toml"), "half") as trainer:
        for report in trainer:
            if report.step == 15:
                break
    assert main(["train", "--resume", "half"]) == 0
    assert digest("half", capsys) == digest("1", capsys)
    Path("without.toml").write_text(CONFIG.partition("[checks.zclip]")[0])
    assert main(["train", "without.toml", "--out", "without"]) == 0
    assert digest("without", capsys) != digest("1", capsys) and set(clips("without")) == {1.0}


def test_options_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "run.toml", "--set", "checks.zclip.alpha=1"]) == 2
    assert "a number above 0 and below 1" in capsys.readouterr().err
    assert main(["train", "run.toml", "--set", "checks.zclip.z_treshold=1"]) == 2
    assert 'did you mean "z_threshold"' in capsys.readouterr().err


def test_it_is_listed() -> None:
    rows = {row.name: row for row in build_manager().list()}
    assert (rows["zclip"].distribution, rows["zclip"].provides) == ("cllm-zclip", ("check zclip.norm",))
