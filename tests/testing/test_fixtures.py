"""The fixtures that plugins' tests have: what else is installed does not show, and a run can be left and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cllm.errors import PluginError
from cllm.hooks.plugins import Plugins
from cllm.testing.fixtures import Printed, TinyRun, cllm_command, isolated_plugins, tiny_run
from tests.hooks.conftest import Shelf, shelf

__all__ = ["cllm_command", "isolated_plugins", "shelf", "tiny_run"]

SCHEDULE = """
from cllm.hooks import ScheduleSpec, hookimpl

@hookimpl
def cllm_register_schedules():
    yield ScheduleSpec("moon.falling", "falls", lambda: lambda step: 1.0 / (1 + step))
"""


def test_what_else_is_installed_does_not_show(
    shelf: Shelf, isolated_plugins: Callable[..., Plugins]
) -> None:
    shelf.install("other", "raise RuntimeError('imported')")
    path = shelf.module("moon", SCHEDULE)
    assert [row.name for row in isolated_plugins(str(path)).list() if row.state == "active"] == ["builtin", "moon"]


def test_what_is_named_must_work(shelf: Shelf, isolated_plugins: Callable[..., Plugins]) -> None:
    path = shelf.module("broken", "1 / 0")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        isolated_plugins(str(path))


def test_a_run_and_the_same_resumed(shelf: Shelf, tiny_run: Callable[..., TinyRun]) -> None:
    run = tiny_run(str(shelf.module("moon", SCHEDULE)))
    whole, resumed = run("schedule.name=moon.falling"), run.resumed("schedule.name=moon.falling", "train.threads=2")
    assert [report.step for report in whole.reports] == [report.step for report in resumed.reports] == [*range(1, 7)]
    assert whole.digest == resumed.digest
    assert whole.reports[-1].learning_rate == whole.reports[0].learning_rate / 6
    assert run("schedule.name=constant", out="other").digest != whole.digest


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["plugins", "show", "adamw"], 0, "optimizer adamw", ""),
        (["plugins", "show", "adamv"], 2, "", 'did you mean "adamw"?'),
        (["train"], 2, "", "usage: cllm train"),
        (["train", "--help"], 0, "usage: cllm train", ""),
    ],
)
def test_a_command(
    words: list[str], code: int, out: str, err: str, cllm_command: Callable[..., Printed],
) -> None:
    printed = cllm_command(*words)
    assert printed.code == code
    assert out in printed.stdout and err in printed.stderr
    assert bool(printed.stdout) == bool(out) and bool(printed.stderr) == bool(err)


def test_a_run_leaves_nothing_outside_of_its_folder(tiny_run: Callable[..., TinyRun], tmp_path: Path) -> None:
    tiny_run()()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "text.txt"]
