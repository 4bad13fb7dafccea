"""Whether a run goes on, has ended or seems to hang: told from its lock and its reports, of which none is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cllm.config import Config
from cllm.figures import duration, known
from cllm.folderlock import Holder, holder_of
from cllm.reporting.history import History
from cllm.reporting.runs import Run
from cllm.runfolder import LOCK

SILENT = 60.0  # seconds without a report that are too many, unless steps are slow
SILENT_STEPS = 20.0  # times the slowest of the last steps
GOES_ON, SILENT_NOW, STOPPED, ENDED = "on", "silent", "stopped", "ended"


@dataclass(frozen=True)
class State:
    """What a run is doing: one of four words, and a sentence without its subject."""

    kind: str
    text: str


def state_of(run: Run, now: float) -> State:
    """Of a run whose reports have just been read; now: seconds since the epoch, as files' times are."""
    holder = holder_of(run.path / LOCK)
    ended = _ended(run.config, run.history)
    if holder is None or holder.is_there is False:
        return ended or _stopped(run)
    if ended and holder.is_there is None:
        return ended
    return _at_work(run.history, holder, now - _last_news(run.path), ended is not None)


def _last_news(path: Path) -> float:
    """When a report, or the holder of the lock, came last."""
    times = [file.stat().st_mtime for file in (path / "metrics.jsonl", path / LOCK) if file.exists()]
    return max(times, default=0.0)


def _at_work(history: History, holder: Holder, quiet: float, is_last: bool) -> State:
    """A process holds the lock, or may hold it on another machine; nothing has come from it for `quiet` seconds."""
    where = "" if holder.is_there else f" It is process {holder.process} on {holder.host}, which is not seen from here."
    slowest = max(history.recent, default=0.0)
    if history.steps and not quiet <= max(SILENT, SILENT_STEPS * slowest):
        took = f"the slowest of the last steps took {slowest:.3g} s"
        told = f"seems to hang, or to begin, evaluate or save for long: no report for {duration(quiet)}, where {took}."
        return State(SILENT_NOW, told + where)
    if is_last:
        return State(GOES_ON, "makes an end: all steps are made.")
    if not history.steps:
        return State(GOES_ON, f"has begun {duration(max(quiet, 0.0))} ago, and has reported no step yet.{where}")
    to_go = f", about {duration(history.eta)} to go" if history.eta == history.eta else ""
    return State(GOES_ON, f"goes on{to_go}.{where}")


def _ended(config: Config, history: History) -> State | None:
    """Where all steps are made, or as many as patience allows."""
    made = history.steps[-1] if history.steps else 0
    if made and made >= _wanted(config, history):
        return State(ENDED, "has ended: all steps are made.")
    best = history.best()
    stale = sum(step > best[0] for step in history.evaluated) if best else 0
    if 0 < config.train.patience <= stale:
        return State(ENDED, f"has ended: the validation loss has not fallen for {stale} evaluations.")
    return None


def _stopped(run: Run) -> State:
    history = run.history
    if not history.steps:
        return State(STOPPED, "has reported no step, and no process trains there.")
    place = f"step {history.steps[-1]:,} of {known(_wanted(run.config, history), ',')}"
    last = history.events[-1] if history.events else None
    if last and last.kind == "abort" and last.step > history.steps[-1]:
        return State(STOPPED, f"was stopped by a check at {place}.")
    return State(STOPPED, f"stands at {place}: no process trains there.")


def _wanted(config: Config, history: History) -> int:
    return config.train.steps or history.n_steps
