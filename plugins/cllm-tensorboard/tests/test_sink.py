"""Event files, read back by eventfiles.py: curves, decisions, what is taken back by a resume or a rewind."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cllm.hooks import StepReport
from eventfiles import records, shown
from tensorboardX import record_writer
from tensorboardX.proto.event_pb2 import SessionLog

from cllm_tensorboard.sink import CURVES, TensorboardConfig, TensorboardSink

REPORT = StepReport(
    step=1, n_steps=100, batch_index=0, loss=2.5, validation_loss=None, gradient_norm=0.5, learning_rate=1e-3, clip=1.0,
    n_tokens=768, seconds=0.01, tokens_per_second=76_800.0, useful_cpu=0.97, load_balance=0.99, serial_share=0.01,
    parallel_efficiency=0.98, eta_seconds=65.0, decision="step", reasons=(), digest=None,
)


def write(folder: Path, *changes: dict[str, Any], every: int = 1) -> None:
    sink = TensorboardSink(TensorboardConfig(folder=str(folder), every=every))
    for one in changes:
        sink.emit(replace(REPORT, **one))
    sink.close()
    sink.close()


def test_every_number_of_a_report_is_a_curve(tmp_path: Path) -> None:
    write(tmp_path, {"step": 1}, {"step": 2, "validation_loss": 2.25, "loss": math.nan})
    curves = shown(tmp_path)
    assert set(curves) == set(CURVES)
    assert curves["loss/training"][0] == (1, 2.5) and math.isnan(curves["loss/training"][1][1])
    assert curves["loss/validation"] == [(2, 2.25)]
    assert curves["speed/tokens_per_second"] == [(1, 76_800.0), (2, 76_800.0)]


def test_metrics_are_curves_whenever_there_are_some(tmp_path: Path) -> None:
    write(tmp_path, {"step": 4, "metrics": {"a": 0.5}}, {"step": 5}, {"step": 8, "metrics": {"a": 0.25}}, every=10)
    assert shown(tmp_path) == {"metrics/a": [(4, 0.5), (8, 0.25)]}


def test_the_files_are_of_the_format_that_can_be_taken_back(tmp_path: Path) -> None:
    write(tmp_path, {"step": 8})
    (path,) = (tmp_path / "tensorboard").iterdir()
    first, second, *_ = records(path)
    assert "tfevents" in path.name and first.file_version == "brain.Event:2"
    assert (second.session_log.status, second.step) == (SessionLog.START, 8)


def test_points_are_as_rare_as_asked_but_for_evaluations_and_the_end(tmp_path: Path) -> None:
    steps = [{"step": step, "n_steps": 23, "validation_loss": 2.0 if step == 13 else None} for step in range(1, 24)]
    write(tmp_path, *steps, every=10)
    assert [step for step, _ in shown(tmp_path)["loss/training"]] == [10, 13, 20, 23]


def test_decisions_are_texts_and_no_markup(tmp_path: Path) -> None:
    low = {"reasons": ("plateau: <b>flat\n# x",)}
    write(
        tmp_path, {"step": 1}, {"step": 1, "decision": "skip", "reasons": ("spike: a", "z: b")}, {"step": 2},
        {"step": 3, **low}, {"step": 4, **low}, {"step": 5, "decision": "drop", "reasons": ("x: y",), "dropped": (1,)},
    )
    found = shown(tmp_path)
    assert found["decisions/text_summary"] == [
        (2, "**skip**\n\n    spike: a\n    z: b\n"), (3, "**lower_lr**\n\n    plateau: <b>flat # x\n"),
        (5, "**drop**\n\n    x: y\n"),
    ]
    assert [point[0] for point in found["loss/training"]] == [1, 2, 3, 4, 5]  # a batch that was skipped is no update


def test_a_resumed_run_takes_back_what_it_does_again(tmp_path: Path) -> None:
    write(tmp_path, *({"step": step, "loss": 1.0} for step in range(1, 8)))
    write(tmp_path, *({"step": step, "loss": 2.0} for step in range(6, 9)))
    assert shown(tmp_path)["loss/training"] == [(step, 1.0 if step < 6 else 2.0) for step in range(1, 9)]


def test_so_does_a_run_that_goes_back(tmp_path: Path) -> None:
    rewind = {"step": 5, "decision": "rewind", "reasons": ("mine: worse",)}
    again: list[dict[str, Any]] = [
        {"step": 2, "decision": "skip", "reasons": ("a: b",)}, {"step": 3, "loss": 3.0}, {"step": 4, "loss": 4.0},
    ]
    write(tmp_path, *({"step": step, "loss": 1.0} for step in range(1, 6)), rewind, *again)
    assert shown(tmp_path)["loss/training"] == [(1, 1.0), (2, 1.0), (3, 3.0), (4, 4.0)]
    assert [step for step, _ in shown(tmp_path)["decisions/text_summary"]] == [6, 3]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("")
    with pytest.raises(OSError, match="exists"):
        write(tmp_path, {"step": 1})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_and_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb") as full:
        monkeypatch.setattr(record_writer, "open_file", lambda _: full)
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path, {"step": 1})


def test_nothing_is_written_before_the_first_report(tmp_path: Path) -> None:
    write(tmp_path)
    assert not list(tmp_path.iterdir())
