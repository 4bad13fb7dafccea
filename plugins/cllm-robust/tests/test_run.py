"""Whole runs with the installed plugin, as a user starts them: it trains, to the bit, and its absence is explained."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import cllm
import numpy as np
import pytest
from cllm.abi import as_python
from cllm.cli import main
from cllm.config import Part
from cllm.hooks.manager import build_manager

CONFIG = """\
name = "robust"
[model]
block_size = 16
n_layer = 1
n_head = 2
n_embd = 16
[data]
path = "text.txt"
[train]
steps = 40
batch_size = 5
eval_every = 20
eval_batches = 2
log_every = 1
[optimizer]
name = "adamw"
learning_rate = 0.01
[schedule]
name = "constant"
[sinks]
console = false
[reducer]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("".join(f"{n} and {n} make {2 * n}.\n" for n in range(400)))
    return tmp_path


def train(reducer: str, *arguments: str) -> int:
    Path("run.toml").write_text(CONFIG + reducer + "\n")
    return main(["train", "run.toml", *arguments])


def losses(run: str) -> list[float]:
    return [json.loads(line)["loss"] for line in Path(run, "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("reducer", ['name = "robust.trimmed_mean"', 'name = "robust.median"'])
def test_it_trains_with_the_same_bits_at_any_thread_count(reducer: str, capsys: pytest.CaptureFixture[str]) -> None:
    digests = []
    for n_threads in ("1", "2", "3"):
        assert train(reducer, "--threads", n_threads, "--out", n_threads) == 0
        capsys.readouterr()
        assert main(["digest", n_threads]) == 0
        digests.append(capsys.readouterr().out)
    assert len(set(digests)) == 1
    assert train('name = "tree"', "--out", "tree") == 0
    capsys.readouterr()
    main(["digest", "tree"])
    assert capsys.readouterr().out not in digests
    assert losses("1")[-1] < 0.75 * losses("1")[0]


def test_options_are_checked_and_written_to_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert train('name = "robust.trimmed_mean"', "--set", "train.steps=1", "--out", "run") == 0
    assert 'name = "robust.trimmed_mean"\ntrim = 1\n' in Path("run", "config.toml").read_text()
    assert train('name = "robust.trimmed_mean"\ntrim = 0') == 2
    assert "1 or more" in capsys.readouterr().err
    assert train('name = "robust.trimmed_mean"\ntrims = 1') == 2
    assert 'did you mean "trim"' in capsys.readouterr().err


def test_a_trim_too_large_for_the_shards_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert train('name = "robust.trimmed_mean"\ntrim = 2') == 17
    error = capsys.readouterr().err
    assert "reducer TrimmedMean: status 1: trim leaves none of the shards" in error
    assert "lower [reducer] trim" in error


def test_without_the_plugin_the_error_names_its_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: ())  # nothing installed, as cllm sees it
    assert train('name = "robust.trimmed_mean"') == 2
    error = capsys.readouterr().err
    assert "robust.trimmed_mean" in error
    assert "the package cllm-robust provides it" in error


def test_it_is_listed_and_can_be_left_out() -> None:
    rows = {row.name: row for row in build_manager().list()}
    assert (rows["robust"].distribution, rows["robust"].state) == ("cllm-robust", "active")
    assert rows["robust"].provides == ("reducer robust.median", "reducer robust.trimmed_mean")
    assert {row.name: row.state for row in build_manager(["no:robust"]).list()}["robust"] == "left out"


class OneShardWrong:
    """Lets `inner` see gradients of which the second shard's is a thousand times too large and has the wrong sign."""

    kind: Literal["gather"] = "gather"

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def combine(self, gradients: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        spoilt = gradients.copy()
        spoilt[1] *= np.float32(-1000.0)
        as_python(self._inner).combine(spoilt, weights, out)


def test_it_still_learns_where_one_shard_is_always_wrong() -> None:
    plugins = build_manager()
    last = {}
    for name in ("ordered", "robust.median", "robust.trimmed_mean"):
        Path("run.toml").write_text(CONFIG + f'name = "{name}"\n')
        config = cllm.load_config(Path("run.toml"), ["checks.spike=false"])
        reducer = OneShardWrong(plugins.make("reducer", Part(name)))
        with cllm.Trainer(config, name, plugins=plugins, reducer=reducer) as trainer:
            reports = list(trainer)
        last[name] = reports[-1].loss / reports[0].loss
    assert last["ordered"] > 1.0
    assert last["robust.median"] < 0.75
    assert last["robust.trimmed_mean"] < 0.75
