"""The whole command with cllm alone, and peers that are not here; no time is asserted."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import compare, sides
from benchmarks.peers import PEERS, Peer
from benchmarks.task import TASKS


def test_it_measures_cllm_and_names_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "eager", Peer("eager", "a_module_that_nobody_has"))
    written = tmp_path / "found.json"
    words = ["--config", "XS", "--peers", "eager,llmc", "--threads", "1", "--runs", "5", "--seconds", "0.01"]
    assert compare.main([*words, "--json", str(written), "--markdown"]) == 0

    shown = capsys.readouterr().out
    assert "left out: eager, a_module_that_nobody_has is not installed" in shown
    assert "left out: llmc, needs --llmc" in shown
    assert "| side | ms a step |" in shown
    whole = json.loads(written.read_text())
    assert whole["command"].startswith("python -m benchmarks.compare --config XS")
    (found,) = whole["comparisons"]
    (ours,) = found["sides"]
    assert ours["name"] == "cllm" and len(ours["seconds"]) >= 5 and ours["losses"][0] == pytest.approx(4.605, rel=0.01)
    assert ours["installed"] > 1_000_000 and ours["start_seconds"] > 0.0


def test_a_peer_that_computes_something_else_is_not_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here cllm under another name, held to a tolerance that nothing can keep."""
    other = Peer("eager", "cllm", tolerance=(-1.0, -1.0))
    monkeypatch.setitem(PEERS, "eager", other)
    assert compare.main(["--config", "XS", "--threads", "1", "--runs", "5", "--seconds", "0.01"]) == 1
    shown = capsys.readouterr().out
    assert "NOT THE SAME" in shown and "left out: eager, does not compute the same" in shown


def test_where_memory_is_short_a_side_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "available_memory", lambda: 4_000_000_000)
    with ExitStack() as stack:
        field = sides.Field(tmp_path, TASKS["XS"], 1, stack)
        large: Any = SimpleNamespace(worker=SimpleNamespace(memory=3_000_000_000))
        field.entrants.append(large)
        field.enter(Peer("mkl", "cllm"))
        assert "4.0 GB of memory are left" in field.left_out["mkl"]
