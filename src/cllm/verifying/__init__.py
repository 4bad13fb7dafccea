"""Looks whether a run, prepared data or a token file is as it was written; it only reads, also while a run goes on.

It does not stop at the first thing that is wrong: each is a line that names the file, what is wrong and what to do.
Reading order: report (what is said), data (tokens), run (all the rest).
"""

from __future__ import annotations

from pathlib import Path

from cllm.data.manifest import FILE_NAME as MANIFEST
from cllm.data.preparedpart import TRAIN_FILE
from cllm.errors import RunFolderError
from cllm.hooks.plugins import Plugins
from cllm.verifying.data import look_at_prepared, look_at_tokens
from cllm.verifying.report import Finding, Report
from cllm.verifying.run import look_at_run

__all__ = ["Finding", "Report", "verify"]


def verify(path: Path, plugins: Plugins) -> Report:
    """Look at a run folder, a folder of prepared data or a token file; RunFolderError where it is none of these.

    What a run changes while it is looked at may seem wrong for a moment: a problem counts if a second look finds it.
    """
    report = _look(path, plugins)
    if report.problems:
        first, report = report, _look(path, plugins)
        report.problems = [problem for problem in report.problems if problem in first.problems]
    return report


def _look(path: Path, plugins: Plugins) -> Report:
    if path.is_file():
        report = Report(path, "token file")
        look_at_tokens(report, path)
    elif (path / TRAIN_FILE).exists() or (path / MANIFEST).is_file():
        report = Report(path, "prepared data")
        look_at_prepared(report, path, plugins)
    elif any((path / name).exists() for name in ("config.toml", "checkpoints", "ledger.jsonl")):
        report = Report(path, "run")
        look_at_run(report, path, plugins)
    else:
        raise RunFolderError(
            "verify", f"{path} is neither" if path.exists() else f"there is no {path}",
            "the folder of a run or of prepared data, or a token file",
            "give the folder that the run named when it started, such as runs/NAME-1",
        )
    return report
