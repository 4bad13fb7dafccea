"""cllm's own parts keep to what cllm.testing asks of anyone's; tests/ops does so of ops."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cllm.builtin.reducers import OrderedReducer, TreeReducer
from cllm.builtin.single import Single
from cllm.config import Part
from cllm.hooks.manager import build_manager
from cllm.hooks.protocols import Dataset, StabilityCheck
from cllm.testing import (
    Moment,
    check_communicator,
    check_dataset,
    check_import_budget,
    check_reducer,
    check_stability_check,
)
from tests.docs.inputs import a_squad_file
from tests.ranks.crowd import Crowd, each

PLUGINS = build_manager(installed=False)


@pytest.mark.parametrize("reducer", [TreeReducer(), OrderedReducer()], ids=PLUGINS.names("reducer")[::-1])
def test_reducers(reducer: Any) -> None:
    check_reducer(reducer)


def test_every_reducer_is_tried() -> None:
    assert PLUGINS.names("reducer") == ("ordered", "tree")


def spoilt(step: Moment) -> Moment:
    gradient = step.gradient.copy()
    gradient[7] = np.inf
    return replace(step, gradient_norm=float("inf"), gradient=gradient)


# Options, a step that alarms, and whether what is not finite is left to the check `finite`.
CHECKS: dict[str, tuple[dict[str, Any], Callable[[Moment], Moment] | None, bool]] = {
    "finite": ({}, spoilt, False),
    "clip": ({"max_norm": 2.0}, lambda step: replace(step, gradient_norm=9.0), True),
    "spike": ({"window": 32}, lambda step: replace(step, loss=9.0), True),
    "update_ratio": ({}, lambda step: replace(step, update_ratio=0.9), False),
    "dead_gradient": ({"steps": 2}, None, True),
    "plateau": ({}, None, True),
}


@pytest.mark.parametrize("name", CHECKS)
def test_checks(name: str) -> None:
    options, alarm, leaves = CHECKS[name]

    def make() -> StabilityCheck:
        made: StabilityCheck = PLUGINS.make("check", Part(name, options))
        return made

    check_stability_check(make, alarm, leaves_nonfinite=leaves)


def test_every_check_is_tried() -> None:
    assert PLUGINS.names("check") == tuple(sorted(CHECKS))


def a_json_file(folder: Path) -> None:
    lines = [json.dumps({"text": f"Line {n}."}) for n in range(5)]
    (folder / "it.jsonl").write_text("\n".join(lines))


def a_table(folder: Path) -> None:
    (folder / "it.csv").write_text("text\nred\ngreen\nblue\n")


def two_files(folder: Path, suffix: str) -> None:
    for name in ("one", "two", "three"):
        (folder / f"{name}{suffix}").write_text(f"# {name}\n\nText of {name}.\n")


# What lays sound input out, and what is wrong with other files.
DATASETS: dict[str, tuple[Callable[[Path], object] | None, dict[str, tuple[str, bytes]]]] = {
    "text": (lambda folder: two_files(folder, ".txt"), {"no UTF-8": ("it.txt", b"\xff\xfe"), "no file": ("", b"")}),
    "jsonl": (a_json_file, {"no JSON": ("it.jsonl", b"{"), "another field": ("it.jsonl", b'{"a": "b"}')}),
    "csv": (a_table, {"no UTF-8": ("it.csv", b"text\n\xff\n"), "no column": ("it.csv", b"other\nx\n")}),
    "markdown": (lambda folder: two_files(folder, ".md"), {"no UTF-8": ("it.md", b"\xff")}),
    "repo": (lambda folder: two_files(folder, ".py"), {"no file": ("", b"")}),
    "squad": (
        lambda folder: (folder / "train.json").write_text(a_squad_file()),
        {"no JSON": ("it.json", b"{"), "another file": ("it.json", b'{"a": 1}')},
    ),
    "pydoc": (None, {}),
}


@pytest.mark.parametrize("name", DATASETS)
def test_datasets(name: str, tmp_path: Path) -> None:
    lay_out, wrong = DATASETS[name]

    def over(folder: Path | None) -> Dataset:
        options = {} if folder is None else {"source": str(folder)}
        made: Dataset = PLUGINS.make("dataset", Part(name, options))
        return made

    def bad(number: int, file: str, content: bytes) -> Callable[[], Dataset]:
        folder = tmp_path / f"bad{number}"
        folder.mkdir()
        if file:
            (folder / file).write_bytes(content)
        return lambda: over(next(folder.iterdir()) if file and name == "squad" else folder)

    sound = tmp_path / "sound"
    sound.mkdir()
    if lay_out is not None:
        lay_out(sound)
    source = None if lay_out is None else sound / "train.json" if name == "squad" else sound
    check_dataset(lambda: over(source), {what: bad(n, *how) for n, (what, how) in enumerate(wrong.items())})


def test_every_dataset_is_tried() -> None:
    assert PLUGINS.names("dataset") == tuple(sorted(DATASETS))


def test_communicators() -> None:
    """cllm's own, and the one with which tests/ranks tries what ranks do."""
    assert PLUGINS.names("communicator") == ("single",)
    check_communicator(Single())
    for size in (1, 2, 3, 8):
        assert each(Crowd(size), check_communicator) == [None] * size


def test_the_plugin_of_cllm_itself_imports_nothing_heavy() -> None:
    check_import_budget("cllm.builtin")
