"""Built-in sinks: the progress line on the console, and in the run folder a line a step, of JSON or of a table."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, TextIO

from msgspec import Meta, Struct

from cllm.csvlines import CsvWriter
from cllm.figures import duration, rate
from cllm.hooks import StepReport
from cllm.jsonl import LineWriter
from cllm.screen import screen_of

Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]

METRICS, TABLE = "metrics.jsonl", "metrics.csv"


class ConsoleConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """every: steps between lines; left out, [train] log_every"""

    every: Count = 10


class ConsoleSink:
    """Progress on standard error, so that standard output stays for results.

    On a terminal the line is written over the last one, by rich with a bar before it where that is installed; what must
    stay to be read (evaluations, decisions of checks, the end) keeps its line. Elsewhere every report is a plain line.
    """

    def __init__(self, config: ConsoleConfig, stream: TextIO | None = None) -> None:
        self._every = config.every
        self._screen = screen_of(sys.stderr if stream is None else stream)
        self._reasons: tuple[str, ...] = ()  # of the last step: a learning rate that stays low is told once

    def emit(self, report: StepReport) -> None:
        """Write a line if one is due."""
        decided = report.decision != "step" or report.reasons not in ((), self._reasons)
        self._reasons = report.reasons
        is_measured = report.validation_loss is not None or bool(report.evaluations)
        stays, is_due = is_measured or decided or report.step == report.n_steps, report.step % self._every == 0
        if stays or (is_due and not self._screen.is_terminal):
            self._screen.stay(progress_line(report))
        elif is_due:
            self._screen.show(progress_line(report), report.step / report.n_steps)
        if report.sample is not None:
            self._screen.stay(f"  {report.sample!r}")

    def close(self) -> None:
        """End the line, so that what comes next begins on a fresh one."""
        self._screen.close(keep=True)


class _FileSink:
    """Appends every report to a file."""

    def __init__(self, writer: LineWriter | CsvWriter) -> None:
        self._writer = writer

    def emit(self, report: StepReport) -> None:
        """Append one line."""
        self._writer.write(vars(report))

    def close(self) -> None:
        """Give the file back."""
        self._writer.close()


class JsonlConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """folder: where metrics.jsonl is written; left out, the run folder"""

    folder: str


class JsonlSink(_FileSink):
    """Appends every report to metrics.jsonl in strict JSON: numbers that it lacks become "nan", "inf" and "-inf"."""

    def __init__(self, config: JsonlConfig) -> None:
        super().__init__(LineWriter(Path(config.folder) / METRICS))


class CsvConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """folder: where metrics.csv is written; left out, the run folder"""

    folder: str


class CsvSink(_FileSink):
    """Appends every report to metrics.csv, whose first line has the names of the columns."""

    def __init__(self, config: CsvConfig) -> None:
        names = [field.name for field in dataclasses.fields(StepReport)]
        super().__init__(CsvWriter(Path(config.folder) / TABLE, names))


def progress_line(report: StepReport) -> str:
    """Return a report as one line of text; a step that was not made has the number that it would have had."""
    made = report.decision in ("step", "drop")
    columns = [
        f"step {report.step + (not made)}/{report.n_steps}",
        f"loss {report.loss:.4f}",
        f"validation {report.validation_loss:.4f}" if report.validation_loss is not None else "",
        *(f"{name} {loss:.4f}" for name, loss in report.evaluations.items()),
        f"{rate(report.tokens_per_second)} tokens/s",
        f"useful CPU {_percent(report.useful_cpu)}",
        f"ETA {duration(report.eta_seconds)}" if report.eta_seconds is not None else "",
        f"{_decision_of(report)}: {'; '.join(report.reasons)}" if report.reasons else _how_it_went(report),
    ]
    return "  ".join(column for column in columns if column)


def _decision_of(report: StepReport) -> str:
    """In words: a step with reasons is one whose learning rate was lowered."""
    dropped = f"without shards {', '.join(map(str, report.dropped))}"
    return {"step": "lower learning rate", "drop": dropped}.get(report.decision, report.decision)


def _how_it_went(report: StepReport) -> str:
    """What a narrow terminal may cut off."""
    return (
        f"balance {_percent(report.load_balance)}, serial {_percent(report.serial_share)}, "
        f"efficiency {_percent(report.parallel_efficiency)}"
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f}%"
