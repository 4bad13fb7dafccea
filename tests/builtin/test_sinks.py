"""The progress line and metrics.jsonl."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest

from cllm.builtin.sinks import ConsoleConfig, ConsoleSink, JsonlConfig, JsonlSink, progress_line
from cllm.errors import RunFolderError
from tests.hooks.values import a_report


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
