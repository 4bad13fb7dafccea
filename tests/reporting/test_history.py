"""What a run's metrics.jsonl tells, whatever its lines: steps that come again count once, broken ones not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cllm.errors import RunFolderError
from cllm.jsonl import line_of
from cllm.reporting.following import Follower
from cllm.reporting.history import Event, History
from tests.hooks.values import a_report


def history_of(folder: Path, *lines: dict[str, Any] | bytes) -> History:
    """Of reports with these changes, and of lines as they are."""
    path = folder / "metrics.jsonl"
    encoded = [line if isinstance(line, bytes) else line_of(vars(a_report(**line))).encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return Follower(path).history()


def test_each_step_is_a_row(tmp_path: Path) -> None:
    history = history_of(tmp_path, {"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0, "validation_loss": 2.5})
    assert (history.steps.tolist(), history.columns["loss"].tolist()) == ([1, 2], [3.0, 2.0])
    assert (history.evaluated.tolist(), history.validation.tolist(), history.best()) == ([2], [2.5], (2, 2.5))
    assert (history.n_steps, history.n_tokens, history.seconds) == (100, 2 * 768, 0.02)
    assert history.average("loss") == 2.5 and not history.events


def test_where_a_run_went_back_the_last_of_each_step_counts(tmp_path: Path) -> None:
    steps = [{"step": n, "loss": float(n), "validation_loss": 0.1 * n} for n in range(1, 6)]
    rewind = {"step": 5, "decision": "rewind", "reasons": ("mine: worse",), "loss": 9.0}
    again = [{"step": n, "loss": 10.0 + n, "validation_loss": 1.0 * n} for n in (3, 4)]
    history = history_of(tmp_path, *steps, rewind, *again)
    assert history.steps.tolist() == [1, 2, 3, 4]
    assert history.columns["loss"].tolist() == [1.0, 2.0, 13.0, 14.0]
    assert all(len(column) == 4 for column in history.columns.values())
    assert history.evaluated.tolist() == [1, 2, 3, 4] and history.best() == (1, 0.1)
    assert history.validation.tolist() == [0.1, 0.2, 3.0, 4.0]
    assert history.events == [Event(6, "rewind", 9.0, ("mine: worse",))]
    assert history.seconds == pytest.approx(0.08)  # what was given up took time all the same


def test_metrics_come_by_label_and_what_a_run_gave_up_is_forgotten(tmp_path: Path) -> None:
    steps = [{"step": n, "metrics": {"a": 0.5 * n, "b": math.nan}} for n in (2, 4, 6)]
    history = history_of(tmp_path, *steps, {"step": 5}, {"step": 6, "metrics": {"a": 9.0}})
    assert history.metrics["a"] == [(2, 1.0), (4, 2.0), (6, 9.0)]
    assert [step for step, _ in history.metrics["b"]] == [2, 4] and all(x != x for _, x in history.metrics["b"])


def test_what_is_no_number_is_a_gap(tmp_path: Path) -> None:
    history = history_of(
        tmp_path, {"step": 1, "loss": math.nan, "validation_loss": math.inf}, {"step": 2, "gradient_norm": -math.inf},
        b'{"step": 3, "n_steps": 3, "loss": null}', b'{"step": 4, "n_steps": 3, "loss": 2}',
        b'{"step": 5, "n_steps": 3}',
    )
    assert history.steps.tolist() == [1, 2, 3, 4, 5]
    assert [value for value in history.columns["loss"] if value == value] == [2.5, 2.0]
    assert math.isnan(history.columns["gradient_norm"][1]) and math.isnan(history.validation[0])
    assert history.best() is None and history.average("useful_cpu") == 0.97


BROKEN = [
    b"", b"null", b"[]", b'{"step": 7}', b'{"step": -1, "n_steps": 9}', b'{"step": 1e400, "n_steps": 9}',
    b'{"step": 7.5}', b'{"step": 7, "n_steps": 9, "loss": 1e999}', b'{"step": 7, "n_steps": 9, "loss": NaN}',
    b'{"step": 99999999999999999999999, "n_steps": 9}', b'{"step": 7, "n_steps": 9, "loss": []}', b"\xff\xfe",
    b'{"step": 7, "n_steps": 9, "decision": "\xff"}', b'{"x": ' + b"[" * 100_000, b'{"step": 7, "n_ste',
]


@pytest.mark.parametrize("broken", BROKEN, ids=[repr(line[:20]) for line in BROKEN])
def test_a_line_that_is_none_is_passed_over(broken: bytes, tmp_path: Path) -> None:
    assert history_of(tmp_path, {"step": 6}, broken, {"step": 8}).steps.tolist() == [6, 8]


def test_half_a_last_line_is_passed_over(tmp_path: Path) -> None:
    history_of(tmp_path, {"step": 6})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 7, "n_steps": 9}')  # whole as JSON, but its newline is not there yet
    assert Follower(tmp_path / "metrics.jsonl").history().steps.tolist() == [6]


def test_what_is_added_is_read_alone_and_what_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    """As a run is followed that goes on, is killed in the middle of a line, and is resumed two steps before."""
    path = tmp_path / "metrics.jsonl"
    lines = [line_of(vars(a_report(step=n, loss=float(n), seconds=0.01 * n))).encode() + b"\n" for n in range(1, 7)]
    follower = Follower(path)
    assert not follower.history().steps
    path.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    first = follower.history()
    assert first.steps.tolist() == [1, 2, 3]
    with path.open("ab") as file:
        file.write(lines[3][20:])
    assert follower.history() is first and first.steps.tolist() == [1, 2, 3, 4]
    again = [line_of(vars(a_report(step=n, loss=9.0, seconds=0.02 * n))).encode() + b"\n" for n in range(3, 6)]
    path.write_bytes(b"".join(lines[:2] + again))  # longer than it was, and every line as long
    second = follower.history()
    assert second is not first and second.columns["loss"].tolist() == [1.0, 2.0, 9.0, 9.0, 9.0]
    assert second.n_tokens == 5 * 768
    path.write_bytes(lines[0])
    assert follower.history().steps.tolist() == [1]
    path.unlink()
    assert not follower.history().steps


def test_decisions_are_counted_and_a_rate_that_stays_low_is_told_once(tmp_path: Path) -> None:
    low, lower = ("plateau: flat",), ("plateau: flatter",)
    history = history_of(
        tmp_path, {"step": 1, "clip": 0.5}, {"step": 2, "reasons": low}, {"step": 3, "reasons": low},
        {"step": 3, "decision": "skip", "reasons": ("spike: high",), "loss": 80.0}, {"step": 4, "reasons": low},
        {"step": 5, "reasons": lower}, {"step": 6, "decision": "drop", "reasons": ("x: y",), "dropped": (1,)},
        {"step": 6, "decision": "abort", "reasons": ("finite: nan",), "loss": math.nan},
    )
    assert [(event.step, event.kind) for event in history.events] == [
        (2, "lower_lr"), (4, "skip"), (5, "lower_lr"), (6, "drop"), (7, "abort"),
    ]
    assert history.counts == {"clip": 1, "lower_lr": 2, "skip": 1, "drop": 1, "abort": 1}
    assert history.steps.tolist() == [1, 2, 3, 4, 5, 6]  # a batch that was skipped is no update


def test_without_the_file_nothing_is_known(tmp_path: Path) -> None:
    history = Follower(tmp_path / "metrics.jsonl").history()
    assert not history.steps and history.best() is None and history.average("loss") is None


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(RunFolderError, match="Is a directory"):
        Follower(tmp_path / "metrics.jsonl").history()


def test_the_fields_are_those_of_a_report() -> None:
    assert set(json.loads(line_of(vars(a_report())))) > set(History().columns)
