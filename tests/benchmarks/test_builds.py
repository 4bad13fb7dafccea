"""Builds beside one another: whose losses must agree, and that a build without the specification says so."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from benchmarks import builds
from cllm import kernels
from cllm._kernels import cpu


def compare(folder: Path, *names: str) -> tuple[list[builds.Line], bool]:
    options = argparse.Namespace(config="XS", dtype="float32", isa=(), threads=1, runs=1, seconds=0.01)
    return builds.compare(dict.fromkeys(names, Path(sys.executable)), options, folder)


def test_every_build_and_instruction_set_has_a_line(tmp_path: Path) -> None:
    lines, same = compare(tmp_path / "task", "O3", "O0")
    assert same and [line.build for line in lines] == ["O3", "O0"]
    assert all(line.least <= line.seconds <= line.most and line.flops > 0.0 for line in lines)


def test_a_build_that_finds_other_losses_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = iter([1.0, 2.0])
    original = builds.Worker.__enter__

    def enter(worker: builds.Worker) -> builds.Worker:
        entered = original(worker)
        entered.first.found[0] = next(found)
        return entered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds.Worker, "__enter__", enter)
        assert not compare(tmp_path / "one", "O3", "O2")[1]
        found = iter([1.0, 2.0])
        assert compare(tmp_path / "two", "O3", "freed")[1]


def test_this_build_keeps_to_the_specification() -> None:
    assert not cpu.freed() and kernels.NUMERICS_VERSION > 0
