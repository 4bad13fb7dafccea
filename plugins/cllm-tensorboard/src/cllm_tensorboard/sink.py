"""The sink: which numbers of a report become curves, and what becomes of steps that are made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cllm.hooks import StepReport
from msgspec import Meta, Struct

from cllm_tensorboard.events import EventFile

Count = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]

FOLDER = "tensorboard"
CURVES = {
    "loss/training": "loss",
    "loss/validation": "validation_loss",
    "update/learning_rate": "learning_rate",
    "update/gradient_norm": "gradient_norm",
    "update/clip": "clip",
    "speed/tokens_per_second": "tokens_per_second",
    "threads/useful_cpu": "useful_cpu",
    "threads/load_balance": "load_balance",
    "threads/serial_share": "serial_share",
    "threads/parallel_efficiency": "parallel_efficiency",
}


class TensorboardConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how often; what is evaluated or decided is written in any case.

    folder: the folder `tensorboard` is made in it; left out, the run folder
    every: steps between points; left out, [train] log_every
    """

    folder: str
    every: Count = 1


class TensorboardSink:
    """Writes reports to event files. A run that goes on, or back, begins a new one, which takes old points back."""

    def __init__(self, config: TensorboardConfig) -> None:
        self._folder = Path(config.folder) / FOLDER
        self._every = config.every
        self._file: EventFile | None = None
        self._made = 0  # the last update that was reported
        self._reasons: tuple[str, ...] = ()  # of the last step: a learning rate that stays low is told once

    def emit(self, report: StepReport) -> None:
        """Write the points of a step, if they are due, and what was decided."""
        made = report.decision in ("step", "drop")
        step = report.step if made else report.step + 1
        file = self._file_for(step)
        self._made = step if made else self._made
        decided = report.decision != "step" or report.reasons not in ((), self._reasons)
        self._reasons = report.reasons
        if decided:
            file.add_text("decisions", _told(report), step)
        if made and (step % self._every == 0 or report.validation_loss is not None or step == report.n_steps):
            values = {tag: getattr(report, name) for tag, name in CURVES.items()}
            file.add_numbers({tag: value for tag, value in values.items() if value is not None}, step)
        if report.metrics:
            file.add_numbers({f"metrics/{label}": number for label, number in report.metrics.items()}, step)

    def close(self) -> None:
        """Bring everything to the disk; closing twice is allowed."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _file_for(self, step: int) -> EventFile:
        if self._file is not None and step <= self._made:
            self.close()
        if self._file is None:
            self._file, self._made = EventFile(self._folder, step), step - 1
        return self._file


def _told(report: StepReport) -> str:
    """As Markdown, in which what a check says is no markup."""
    kind = "lower_lr" if report.decision == "step" else report.decision
    return f"**{kind}**\n\n" + "".join(f"    {' '.join(reason.split())}\n" for reason in report.reasons)
