"""What `pip install cllm` brings, and how soon it answers: within the table of docs/reference/budgets.md."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_build import ROOT, expected

resource = pytest.importorskip("resource", reason="processor time of children")

PAGE = ROOT / "docs/reference/budgets.md"
BASE = {"ijson", "msgspec", "numpy", "pluggy", "safetensors", "tomli-w"}
START, IMPORT_NUMPY = "pass", "import numpy"
HELP = "import sys; from cllm.cli import main; sys.argv = ['cllm', '--help']; main()"
TIMES = {
    "`import cllm`, in starts of Python": ("import cllm", START),
    "`cllm --help`, in starts of Python": (HELP, START),
    "`from cllm import Trainer, load`, in imports of NumPy": ("from cllm import Trainer, load", IMPORT_NUMPY),
}
MODULES = {
    "import cllm": {"cllm"},
    HELP: {"cllm", "cllm.cli", "cllm.env", "cllm.errors"},
}
DISTRIBUTIONS = "distributions that `pip install cllm` brings, itself included"
ITSELF = "megabytes that cllm itself takes, installed"
ALL = "megabytes that all of them take, installed"


def budgets() -> dict[str, float]:
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| [\d.]+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {what: float(most) for what, most in rows}


def seconds(code: str) -> float:
    """Of processor time, for a Python that does this: it waits for nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def imported(code: str) -> set[str]:
    """The modules that a Python has at the end of `code`, less those that it has anyhow."""
    telling = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    told = [
        subprocess.run([sys.executable, "-c", f"{telling}; {this}"], capture_output=True, text=True, check=True).stderr
        for this in (code, START)
    ]
    return set(told[0].split()) - set(told[1].split())


def needed(name: str) -> set[str]:
    """The distributions that `name` requires here, those of extras left out."""
    requirements = [Requirement(line) for line in metadata.requires(name) or []]
    return {
        canonicalize_name(one.name)
        for one in requirements
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def with_all_that_they_need(names: set[str]) -> set[str]:
    found: set[str] = set()
    while names:
        found |= names
        names = {other for name in names for other in needed(name)} - found
    return found


def installed_megabytes(name: str) -> float:
    """Of the files that the installer noted, with what it compiled of them."""
    files = metadata.files(name)
    assert files, f"{name} does not say which files are its own"
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def test_every_row_of_the_table_is_held() -> None:
    assert set(budgets()) == {*TIMES, DISTRIBUTIONS, ITSELF, ALL}


@pytest.mark.parametrize("what", TIMES)
def test_the_first_answer_is_soon(what: str) -> None:
    assert expected("INSTALLED") == "1"  # an editable install looks first whether there is something to compile
    code, beside = TIMES[what]
    ratios: list[float] = []
    while len(ratios) < 21:
        ratios.append(seconds(code) / seconds(beside))
        if len(ratios) >= 5 and statistics.median(ratios) <= budgets()[what]:
            break
    else:
        pytest.fail(f"{what}: {statistics.median(ratios):.2f} at the median of {len(ratios)}")
    print(f"{what}: {statistics.median(ratios):.2f}")


@pytest.mark.parametrize("code", MODULES, ids=["import", "help"])
def test_only_what_is_needed_is_imported(code: str) -> None:
    found = imported(code)
    assert {name for name in found if name.split(".")[0] == "cllm"} == MODULES[code]
    strangers = {name.split(".")[0] for name in found} - {"cllm"} - sys.stdlib_module_names
    assert not strangers


def test_the_base_is_six_libraries() -> None:
    assert needed("cllm") == BASE


def test_no_more_distributions_than_that() -> None:
    found = with_all_that_they_need({"cllm"})
    assert found >= BASE and len(found) <= budgets()[DISTRIBUTIONS], found


def test_the_installed_size() -> None:
    assert expected("INSTALLED") == "1"
    sizes = {name: installed_megabytes(name) for name in with_all_that_they_need({"cllm"})}
    print({name: round(size, 1) for name, size in sizes.items()})
    assert sizes["cllm"] <= budgets()[ITSELF]
    assert sum(sizes.values()) <= budgets()[ALL], sizes
