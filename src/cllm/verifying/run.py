"""Looks at a run folder: config, checkpoints, metrics, ledger, incidents, its own tokens, strays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cllm import atomic, checkpoint, generations, jsonl, ledger, receipt
from cllm.checkpoint import Checkpoint
from cllm.config import load_config
from cllm.errors import CheckpointError
from cllm.hooks.plugins import Plugins
from cllm.program import Program
from cllm.runfolder import RunFolder, check_seal
from cllm.state import TrainState, refuse_non_finite
from cllm.verifying.data import look_at_prepared
from cllm.verifying.report import Report

Place = tuple[int, int]  # updates and batches so far: a run that goes back comes to a step again, never to a place

METRICS = "metrics.jsonl"
BACKUP = "restore it from a backup; to go on, the run needs only its checkpoints"


def look_at_run(report: Report, path: Path, plugins: Plugins) -> None:
    """Everything in the folder, in the order in which a run that goes on meanwhile makes no part look older."""
    folder = RunFolder(path, None)
    saved = _look_at_checkpoints(report, folder, _program(report, folder, plugins))
    # A record is in the ledger before it is in the metrics, and before a checkpoint is made: so it is read after both.
    measured = _look_at_metrics(report, path / METRICS)
    _look_at_ledger(report, folder.ledger_path, saved, measured)
    for incident in sorted(folder.incidents.glob("*.json")):
        with report.file(incident):
            if (weights := receipt.read(incident)["weights"]) is not None:
                receipt.read_weights(folder.incidents, weights)
            report.counts["incidents"] += 1
    for prepared in sorted((path / "data").glob("[!.]*/")):
        look_at_prepared(report, prepared, plugins)
    _tell_of_strays(report, path)


def _program(report: Report, folder: RunFolder, plugins: Plugins) -> Program | None:
    """The model of the config, or None where the config is at fault, or was written before the data was open."""
    with report.file(folder.config_path):
        check_seal(folder.config_path)
        model = load_config(folder.config_path).model
        if model.vocab_size is not None:
            program: Program = plugins.factory("model", model.family)(model, "train")
            return program
    return None


def _look_at_checkpoints(report: Report, folder: RunFolder, program: Program | None) -> dict[Place, Checkpoint]:
    """Those that are sound."""
    sound: dict[Place, Checkpoint] = {}
    if not folder.checkpoints.is_dir():
        report.problem(folder.checkpoints, "it is missing", "restore it from a backup, or resume to begin anew")
    with report.file(folder.checkpoints):
        for path in reversed(generations.generations(folder.checkpoints)):
            n_before = len(report.problems)
            with report.file(path):
                saved = checkpoint.load(path)
                refuse_non_finite(saved.snapshot)
                if program is not None:
                    _recompute(saved, program)
                sound[saved.snapshot.step, saved.snapshot.batch_index] = saved
            if not path.exists():  # a run that goes on has let it go meanwhile
                del report.problems[n_before:]
    report.counts["checkpoints"] = len(sound)
    return sound


class _Saved:
    """What an optimizer has said of itself."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = state

    def state_dict(self) -> Mapping[str, Any]:
        return self._state

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self._state = state


def _recompute(saved: Checkpoint, program: Program) -> None:
    """CheckpointError unless the tensors are those of the model, and have the digest that was saved with them."""
    snapshot = saved.snapshot
    state = TrainState(
        program.parameters, np.zeros(program.n_parameters, dtype=np.float32), _Saved(snapshot.optimizer),
        step=snapshot.step, batch_index=snapshot.batch_index, skipped=list(snapshot.skipped),
    )
    state.set_parameters(snapshot.parameters, str(saved.path))
    if (digest := state.digest()) != saved.digest:
        raise CheckpointError(
            "verify", f"its state has the digest {digest[:16]}..., and {saved.digest[:16]}... was saved with it",
            "one digest", "use an older checkpoint, and report it: no disk does that",
        )


def _look_at_metrics(report: Report, path: Path) -> dict[Place, str]:
    """The digests that were reported."""
    digests: dict[Place, str] = {}
    with report.file(path):
        for number, line in enumerate(jsonl.whole_lines(path), 1):
            record = jsonl.record_of(line)
            if record is None or not all(isinstance(record.get(key), int) for key in ("step", "batch_index")):
                report.problem(path, f"line {number} is no report of a step", BACKUP)
                continue
            report.counts["reports"] += 1
            if isinstance(record.get("digest"), str):
                digests[record["step"], record["batch_index"] + 1] = record["digest"]
        _tell_of_torn_line(report, path)
    return digests


def _look_at_ledger(
    report: Report, path: Path, saved: Mapping[Place, Checkpoint], measured: Mapping[Place, str]
) -> None:
    with report.file(path):
        records = ledger.read(path)
        report.counts["ledger records"] = len(records)
        digests = {(record.step, record.batch_index): record.digest for record in records if record.digest is not None}
        for place, one in saved.items():
            if (digest := digests.get(place, one.digest)) != one.digest:
                came = f"step {place[0]} has the digest {digest[:16]}..., and {one.path.name} {one.digest[:16]}..."
                report.problem(path, came, "one of them is of another run: restore both from one backup")
        for place, told in measured.items():
            if place not in digests:
                report.problem(path, f"the record of step {place[0]}, which {METRICS} tells of, is missing", BACKUP)
            elif digests[place] != told:
                report.problem(path, f"step {place[0]} has another digest than in {METRICS}", BACKUP)
        _tell_of_torn_line(report, path)


def _tell_of_strays(report: Report, path: Path) -> None:
    for folder in (path, path / "checkpoints", path / "data", path / "incidents"):
        for stray in sorted(folder.glob(f"{atomic.TEMPORARY}*")):
            report.note(stray, "being written, or left by a kill", "the next start in this folder removes it")


def _tell_of_torn_line(report: Report, path: Path) -> None:
    if path.exists() and path.stat().st_size > sum(len(line) + 1 for line in jsonl.whole_lines(path)):
        report.note(path, "the last line is being written, or torn by a kill", "it does not count")
