"""Whole runs with the installed plugin, as a user starts them: digests, options, metrics in their place."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from cllm.cli import main
from cllm.hooks.manager import build_manager

CONFIG = """\
name = "crystal"
[model]
block_size = 16
n_layer = 1
n_head = 2
n_embd = 16
[data]
path = "text.txt"
[train]
steps = 30
batch_size = 14
micro_batch_size = 1
eval_every = 15
eval_batches = 2
log_every = 10
[optimizer]
name = "adamw"
learning_rate = 0.01
[schedule]
name = "constant"
[sinks]
console = false
"""
KISSING = '[reducer]\nname = "crystal.kissing"\n'
LATTICE = '[initializer]\nname = "crystal.lattice"\n'
METRICS = '[metrics.gcd]\nname = "crystal.gcd"\n[metrics.ulam]\nname = "crystal.ulam"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("".join(f"{n} and {n} make {2 * n}.\n" for n in range(400)))


def train(tables: str, *arguments: str) -> int:
    Path("run.toml").write_text(CONFIG + tables)
    return main(["train", "run.toml", *arguments])


def digest(run: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["digest", run]) == 0
    return capsys.readouterr().out


def reports(run: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "tables", [KISSING, LATTICE, f'{LATTICE}tokens = "primes"\npositions = "phyllotaxis"\n'],
    ids=["kissing", "phyllotaxis", "primes"],
)
def test_it_trains_with_the_same_bits_at_any_thread_count(tables: str, capsys: pytest.CaptureFixture[str]) -> None:
    digests = set()
    for n_threads in ("1", "2", "3"):
        assert train(tables, "--threads", n_threads, "--out", n_threads) == 0
        digests.add(digest(n_threads, capsys))
    assert len(digests) == 1
    assert train("", "--out", "default") == 0
    assert digest("default", capsys) not in digests
    first, *_, last = (report["loss"] for report in reports("1"))
    assert isinstance(first, float) and isinstance(last, float) and last < 0.75 * first


def test_up_to_three_shards_kissing_gives_the_bits_of_the_tree(capsys: pytest.CaptureFixture[str]) -> None:
    shards = ("--set", "train.micro_batch_size=5", "--set", "train.steps=3")
    assert train(KISSING, *shards, "--out", "kissing") == train("", *shards, "--out", "tree") == 0
    assert digest("kissing", capsys) == digest("tree", capsys)


def test_metrics_are_of_the_text_alone_and_change_no_bit(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("", "--out", "plain") == train(METRICS, "--out", "run") == 0
    assert digest("plain", capsys) == digest("run", capsys)
    assert train(METRICS, "--set", "optimizer.learning_rate=0.0001", "--out", "slow") == 0
    measured, slow = ({r["step"]: r["metrics"] for r in reports(run) if r["metrics"]} for run in ("run", "slow"))
    assert list(measured) == [10, 20, 30]
    assert all(0.0 < number < 1.0 for numbers in measured.values() for number in numbers.values())  # type: ignore[attr-defined]
    assert measured == slow  # while the losses differ: it is no loss
    assert reports("run")[-1]["loss"] != reports("slow")[-1]["loss"]


def test_options_are_checked_and_written_to_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(f"{LATTICE}harmonics = 4\n", "--set", "train.steps=1", "--out", "run") == 0
    written = 'name = "crystal.lattice"\ntokens = "phyllotaxis"\npositions = "family"\nharmonics = 4\n'
    assert written in Path("run", "config.toml").read_text()
    for wrong, told in (
        ('tokens = "spiral"', "expected one of phyllotaxis, primes, family"), ("harmonics = 0", "1 or more"),
        ("deviation = 0.0", "a number above 0"), ("token = 1", 'did you mean "tokens"'),
    ):
        assert train(f"{LATTICE}{wrong}\n") == 2
        assert told in capsys.readouterr().err


def test_without_the_plugin_the_error_names_its_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: ())  # nothing installed, as cllm sees it
    for tables in (KISSING, LATTICE, METRICS):
        assert train(tables) == 2
        assert "the package cllm-crystal provides it" in capsys.readouterr().err


def test_it_is_listed() -> None:
    row = {row.name: row for row in build_manager().list()}["crystal"]
    assert (row.distribution, row.state) == ("cllm-crystal", "active")
    assert row.provides == (
        "initializer crystal.lattice", "reducer crystal.kissing", "metric crystal.gcd", "metric crystal.ulam"
    )
