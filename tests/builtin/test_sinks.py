"""The progress line, metrics.jsonl and metrics.csv."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from cllm import screen
from cllm.builtin.sinks import (
    ConsoleConfig,
    ConsoleSink,
    CsvConfig,
    CsvSink,
    JsonlConfig,
    JsonlSink,
    progress_line,
)
from cllm.csvlines import cut_csv_from
from cllm.errors import RunFolderError
from tests.hooks.values import a_report
from tests.runs import config, finish, leave_half_way, train
from tests.terminal import Terminal


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


WENT = "balance 99%, serial 1%, efficiency 98%"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, f"step 10/100  loss 2.5000  76.8k tokens/s  useful CPU 97%  ETA 1:05  {WENT}"),
        (
            {"validation_loss": 2.25, "eta_seconds": 3723.4, "tokens_per_second": 2.5e6},
            f"step 10/100  loss 2.5000  validation 2.2500  2.5M tokens/s  useful CPU 97%  ETA 1:02:03  {WENT}",
        ),
        (
            {"eta_seconds": None, "tokens_per_second": 12.4, "decision": "skip", "reasons": ("a: b", "c: d")},
            "step 11/100  loss 2.5000  12 tokens/s  useful CPU 97%  skip: a: b; c: d",
        ),
        ({"loss": math.nan}, f"step 10/100  loss nan  76.8k tokens/s  useful CPU 97%  ETA 1:05  {WENT}"),
    ],
)
def test_the_progress_line(changes: dict[str, object], line: str) -> None:
    assert progress_line(a_report(**changes)) == line


def test_elsewhere_a_report_that_is_due_is_a_plain_line() -> None:
    stream = io.StringIO()
    sink = ConsoleSink(ConsoleConfig(every=5), stream)
    for step in range(1, 13):
        sink.emit(a_report(step=step, n_steps=12))
    sink.close()
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["5/12", "10/12", "12/12"]
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize("changes", [{"validation_loss": 1.0}, {"decision": "skip", "reasons": ("a: b",)}])
def test_what_matters_is_told_between_lines(changes: dict[str, object]) -> None:
    stream = io.StringIO()
    ConsoleSink(ConsoleConfig(every=1000), stream).emit(a_report(**changes))
    assert stream.getvalue() == progress_line(a_report(**changes)) + "\n"


def test_a_terminal_sees_one_line_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(screen, "_bar", lambda stream: None)
    stream = Terminal()
    sink = ConsoleSink(ConsoleConfig(every=1), stream)
    long, short = a_report(step=1, loss=12.5), a_report(step=2, eta_seconds=None)
    sink.emit(long)
    sink.emit(short)
    padded = progress_line(short).ljust(len(progress_line(long)))
    assert stream.getvalue() == f"{progress_line(long)}\r{padded}"
    evaluated = a_report(step=3, validation_loss=2.0)
    sink.emit(evaluated)
    sink.emit(a_report(step=4))
    assert stream.getvalue().endswith(f"\r{progress_line(evaluated)}\n{progress_line(a_report(step=4))}")
    sink.close()
    sink.close()
    assert stream.getvalue().endswith(f"{WENT}\n")


def test_a_narrow_terminal_gets_no_line_that_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(screen, "_bar", lambda stream: None)
    stream = Terminal()
    ConsoleSink(ConsoleConfig(every=1), stream).emit(a_report())
    assert stream.getvalue() == progress_line(a_report())[:39]


def test_the_console_writes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    sink = ConsoleSink(ConsoleConfig(every=1))
    sink.emit(a_report())
    sink.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("step 10/100")


def strict(line: str) -> dict[str, object]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    record: dict[str, object] = json.loads(line, parse_constant=refuse)
    return record


def test_jsonl_appends_a_strict_line_for_each_report(tmp_path: Path) -> None:
    for steps in ((1, 2), (3,)):
        sink = JsonlSink(JsonlConfig(folder=str(tmp_path)))
        for step in steps:
            sink.emit(a_report(step=step, loss=0.1 + 0.2, validation_loss=math.nan, eta_seconds=math.inf))
        sink.close()
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [strict(line) for line in lines]
    assert [record["step"] for record in records] == [1, 2, 3]
    assert records[0]["loss"] == 0.1 + 0.2
    assert (records[0]["validation_loss"], records[0]["eta_seconds"], records[0]["digest"]) == ("nan", "inf", None)
    assert set(records[0]) == set(a_report().__dataclass_fields__)


def test_jsonl_lines_are_there_as_soon_as_they_are_emitted(tmp_path: Path) -> None:
    sink = JsonlSink(JsonlConfig(folder=str(tmp_path)))
    sink.emit(a_report())
    assert (tmp_path / "metrics.jsonl").read_bytes().endswith(b"}\n")
    sink.close()


def test_jsonl_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    sink = JsonlSink(JsonlConfig(folder=str(tmp_path)))
    sink.emit(a_report(step=2))
    sink.close()
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [strict(line)["step"] for line in lines] == [1, 2]


def test_jsonl_says_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="No such file"):
        JsonlSink(JsonlConfig(folder=str(tmp_path / "absent")))


def table(path: Path) -> list[dict[str, str]]:
    with (path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def write_table(folder: Path, *reports: dict[str, object]) -> None:
    sink = CsvSink(CsvConfig(folder=str(folder)))
    for changes in reports:
        sink.emit(a_report(**changes))
    sink.close()
    sink.close()


def test_csv_appends_a_line_for_each_report_under_one_line_of_names(tmp_path: Path) -> None:
    write_table(tmp_path, {"step": 1, "loss": 0.1 + 0.2, "validation_loss": math.nan}, {"step": 2, "dropped": (1, 3)})
    write_table(tmp_path, {"step": 3, "decision": "skip", "reasons": ('a, "b"\nc', "d")})
    rows = table(tmp_path)
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0]) == list(a_report().__dataclass_fields__)
    assert float(rows[0]["loss"]) == 0.1 + 0.2
    assert (rows[0]["validation_loss"], rows[1]["validation_loss"], rows[1]["dropped"]) == ("nan", "", "1; 3")
    assert rows[2]["reasons"] == 'a, "b"\\nc; d'
    assert (tmp_path / "metrics.csv").read_bytes().count(b"\n") == 4


@pytest.mark.parametrize("torn", [b"step,lo", b"step,loss\n1,2.5\n2,"])
def test_csv_goes_on_after_a_torn_line(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(torn)
    write_table(tmp_path, {"step": 2, "loss": 2.25})
    assert [(row["step"], row["loss"]) for row in table(tmp_path)][-1] == ("2", "2.25")
    assert [row["step"] for row in table(tmp_path)] == ["1", "2"][-len(table(tmp_path)) :]


def test_csv_keeps_the_columns_of_a_file_that_another_version_began(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("loss,gone,step\n1.5,x,1\n")
    write_table(tmp_path, {"step": 2})
    assert table(tmp_path)[1] == {"loss": "2.5", "gone": "", "step": "2"}


def test_csv_says_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="No such file"):
        CsvSink(CsvConfig(folder=str(tmp_path / "absent")))


def test_a_resumed_run_has_the_table_of_one_that_was_not_disturbed(tmp_path: Path) -> None:
    settings = config(tmp_path, "sinks.csv=true")
    train(settings, tmp_path / "whole")
    leave_half_way(settings, tmp_path / "resumed")
    assert [row["step"] for row in table(tmp_path / "resumed")][-1] == "7"
    finish(settings, tmp_path / "resumed")
    same = ("step", "batch_index", "loss", "validation_loss", "gradient_norm", "learning_rate", "digest")
    whole, resumed = ([{key: row[key] for key in same} for row in table(tmp_path / n)] for n in ("whole", "resumed"))
    assert len(whole) == 12 and resumed == whole


@pytest.mark.parametrize("text", ["step,loss\n1,2\n", "", '"', "batch_index\nx\n1e3\n٣\n"])
def test_a_table_that_tells_of_no_batches_is_not_cut(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text, encoding="utf-8")
    cut_csv_from(tmp_path / "metrics.csv", 0)
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == text
