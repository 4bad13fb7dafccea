"""The repaired wheel on a machine where nothing compiles: what a user's first minutes with `pip install cllm` meet."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.docs.markdown import ROOT
from tests.docs.running import lay_out, run_page
from tests.packaging.conftest import VERSIONS
from tests.test_budgets import BASE
from tests.test_golden import GRADIENTS, RUNS
from tools.wheel import Bare, built

SMALL = ("--set", "train.steps=4", "--set", "model.n_layer=1", "--set", "train.batch_size=4",
         "--set", "train.eval_batches=1", "--set", "schedule.warmup_steps=1")


def test_it_is_for_any_linux_of_this_kind_and_any_python_since_3_11(wheel: Path) -> None:
    assert re.fullmatch(r"cllm-[\d.]+-cp311-abi3-(manylinux_2_\d+_\w+\.?)+\.whl", wheel.name), wheel.name


def test_it_uses_the_stable_abi_alone(wheel: Path) -> None:
    pytest.importorskip("abi3audit", reason="tox -e wheel has it")
    audit = [sys.executable, "-m", "abi3audit", "--strict", "--assume-minimum-abi3", "3.11", str(wheel)]
    done = subprocess.run(audit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_brings_one_openmp_runtime_its_licence_and_nothing_else_new(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as repaired_one, zipfile.ZipFile(built()) as first:
        new = {name for name in set(repaired_one.namelist()) - set(first.namelist()) if not name.endswith("/")}
        names = repaired_one.namelist()
    assert [name for name in names if name.endswith("/licenses/LICENSE")]
    assert [re.sub(r"-[0-9a-f]{8}", "", name) for name in new if ".libs/" in name] == ["cllm.libs/libgomp.so.1.0.0"]
    assert all(".libs/" in name or ".dist-info/" in name for name in new), new


def test_nothing_there_compiles_and_nothing_else_is_installed(bare: Bare, tmp_path: Path) -> None:
    assert not bare.compilers()
    listing = "from importlib import metadata; print(*{found.name for found in metadata.distributions()})"
    found = bare.run("python", "-c", listing, where=tmp_path).split()
    assert {canonicalize_name(name) for name in found} == BASE | {"cllm"}


def test_doctor_finds_the_build_as_it_was_meant(bare: Bare, tmp_path: Path) -> None:
    bare.run("cllm", "doctor", "--assert", "openmp=1", "abi3=1", "optimised=1", "checked=0", where=tmp_path)
    library = json.loads(bare.run("cllm", "doctor", "--json", where=tmp_path))["openmp_library"]
    assert Path(library).parent.name == "cllm.libs"
    assert Path(library).resolve().is_relative_to(bare.folder.resolve())


def test_the_first_minutes(bare: Bare, tmp_path: Path) -> None:
    """Train, look, go on, write, verify: by commands alone."""
    bare.run("cllm", "train", "--demo", *SMALL, where=tmp_path)
    assert json.loads(bare.run("cllm", "train", "--demo", *SMALL, "--dry-run", "--json", where=tmp_path))
    told = bare.run("cllm", "train", "--resume", "runs/demo-1", "--set", "train.steps=6", where=tmp_path)
    assert "step 6/6" in told
    written = bare.run("cllm", "generate", "runs/demo-1", "The ", "--tokens", "20", where=tmp_path)
    assert written.startswith("The ")
    for command in ("eval", "digest", "verify", "report"):
        assert bare.run("cllm", command, "runs/demo-1", where=tmp_path)


def test_digests_are_the_golden_ones_and_forks_compute(bare: Bare, runner: Path) -> None:
    golden = "tests/test_golden.py::test_"
    chosen = [
        *(f"{golden}gradient[{name}-{n_threads}]" for name in GRADIENTS for n_threads in (2, 8)),
        f"{golden}run[plain-resumed-2]", f"{golden}gradient_of_a_team[plain-3]",
        "tests/test_processes.py::test_a_child_process_computes_the_same",
    ]
    options = ("-p", "no:cacheprovider", "-p", "no:faulthandler", "-o", "addopts=")
    told = bare.run("python", "-m", "pytest", "-q", *options, *chosen, where=ROOT, PYTHONPATH=str(runner))
    passed = re.search(r"(\d+) passed", told)
    assert passed and int(passed[1]) > len(chosen), told
    assert "failed" not in told and "skipped" not in told


@pytest.mark.parametrize("order", ["before", "between"])
def test_another_openmp_runtime_in_the_process_changes_no_bit(
    order: str, bare: Bare, tmp_path: Path, runner: Path
) -> None:
    """The system's own, as other packages bring theirs: put where the linker looks first, its pool of threads alive."""
    path = f"{ROOT}:{runner}"
    script = str(ROOT / "tests/packaging/beside.py")
    printed = bare.run("python", script, order, str(tmp_path), where=tmp_path, PYTHONPATH=path)
    told = json.loads(printed.splitlines()[-1])  # before it, Python 3.13 warns of forks beside threads
    assert set(told["digests"]) == {RUNS["plain"]}
    assert len(told["digests"]) == 3
    assert len(told["runtimes"]) == 2


@pytest.mark.parametrize("bare", VERSIONS[:1], indirect=True)
def test_the_readme_holds(bare: Bare, tmp_path: Path) -> None:
    lay_out(tmp_path)
    run_page(ROOT / "README.md", tmp_path, {**bare.environment, "COLUMNS": "200"}, str(bare.python))
