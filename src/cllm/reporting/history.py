"""What a run went through, as its reports tell it: a column a number, and what checks decided.

Where a run went back, or was resumed, steps come again: the last ones count.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

MOST_SAMPLES = 64
N_RECENT = 64
COLUMNS = ("loss", "gradient_norm", "learning_rate", "tokens_per_second", "useful_cpu", "load_balance")

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Value = float | str | None  # "nan", "inf" and "-inf" are text in a line


class Line(msgspec.Struct):
    """A report, as far as it is looked at."""

    step: Count
    n_steps: Count
    n_tokens: Count = 0
    seconds: Value = None
    loss: Value = None
    validation_loss: Value = None
    gradient_norm: Value = None
    learning_rate: Value = None
    tokens_per_second: Value = None
    useful_cpu: Value = None
    load_balance: Value = None
    eta_seconds: Value = None
    clip: Value = None
    evaluations: dict[str, Value] = {}
    sample: str | None = None
    metrics: dict[str, Value] = {}
    decision: str = "step"
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """Something that a check decided; lower_lr where it is news."""

    step: int  # that was made, or would have been
    kind: str
    loss: float
    reasons: tuple[str, ...]


@dataclass
class History:
    """One value a step in every column, NaN where it is not finite or not known."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    columns: dict[str, array[float]] = field(default_factory=lambda: {name: array("d") for name in COLUMNS})
    evaluated: array[int] = field(default_factory=lambda: array("q"))  # steps after which there was an evaluation
    validation: array[float] = field(default_factory=lambda: array("d"))  # the loss that it found
    others: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # by name: step and loss of other texts
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # by label: step and number
    samples: list[tuple[int, str]] = field(default_factory=list)  # step and what the model wrote then
    events: list[Event] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # of decisions, and of clipped updates
    n_steps: int = 0  # that the run shall make
    n_tokens: int = 0  # of all that was computed, also in vain
    seconds: float = 0.0  # that it took
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=N_RECENT))  # seconds of the last steps
    eta: float = math.nan  # seconds to go, as the last report has it
    _lowered: tuple[str, ...] = ()

    def add(self, line: Line) -> None:
        """Take a report; one of a step that is there already takes the place of that and of all later ones."""
        self.n_steps, self.eta = line.n_steps, finite(line.eta_seconds)
        seconds = finite(line.seconds)
        if seconds > 0.0:  # not NaN either
            self.seconds, self.n_tokens = self.seconds + seconds, self.n_tokens + line.n_tokens
            self.recent.append(seconds)
        self._note(line)
        if line.decision in ("step", "drop"):
            self._forget_from(line.step)
            self.steps.append(line.step)
            for name, column in self.columns.items():
                column.append(finite(getattr(line, name)))
            if line.validation_loss is not None:
                self.evaluated.append(line.step)
                self.validation.append(finite(line.validation_loss))
            for name, loss in line.evaluations.items():
                self.others.setdefault(name, []).append((line.step, finite(loss)))
            for label, number in line.metrics.items():
                self.metrics.setdefault(label, []).append((line.step, finite(number)))
            if line.sample is not None:
                self._keep(line.step, line.sample)

    def best(self) -> tuple[int, float] | None:
        """The step with the least validation loss, and that; None where there was no evaluation."""
        found = [(loss, step) for step, loss in zip(self.evaluated, self.validation, strict=True) if loss == loss]
        return min(found)[::-1] if found else None

    def average(self, name: str) -> float | None:
        """Over the steps for which the column has a value."""
        values = [value for value in self.columns[name] if value == value]
        return sum(values) / len(values) if values else None

    def _note(self, line: Line) -> None:
        """What was decided: an update with reasons is one whose learning rate was lowered, and news the first time."""
        made = line.decision in ("step", "drop")
        if line.decision != "step" or line.reasons not in ((), self._lowered):
            kind = "lower_lr" if line.decision == "step" else line.decision
            self.events.append(Event(line.step + (not made), kind, finite(line.loss), line.reasons))
            self.counts[kind] += 1
        self._lowered = line.reasons if made else self._lowered
        self.counts["clip"] += finite(line.clip) < 1.0

    def _forget_from(self, step: int) -> None:
        if self.steps and self.steps[-1] >= step:
            kept = bisect_left(self.steps, step)
            del self.steps[kept:]
            for column in self.columns.values():
                del column[kept:]
            kept = bisect_left(self.evaluated, step)
            del self.evaluated[kept:], self.validation[kept:]
            self.samples = [one for one in self.samples if one[0] < step]
            self.others = _before(step, self.others)
            self.metrics = _before(step, self.metrics)

    def _keep(self, step: int, sample: str) -> None:
        """Of many samples every second one, and again; the last is always there."""
        if len(self.samples) >= MOST_SAMPLES:
            del self.samples[1::2]
        self.samples.append((step, sample))


def _before(step: int, found: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    return {name: [one for one in points if one[0] < step] for name, points in found.items()}


def finite(value: Value) -> float:
    """A number of a line; NaN for text and for null. JSON has no other that is not finite."""
    return value if isinstance(value, float) else math.nan
