"""Each tox environment asserts that it tests the build that it means to: see CLLM_EXPECT_* in tox.ini."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

import cllm
from cllm import kernels
from cllm._kernels import cpu

ROOT = Path(__file__).parent.parent


def expected(name: str) -> str:
    value = os.environ.get(f"CLLM_EXPECT_{name}")
    if value is None:
        pytest.skip("tox does not ask for it here")
    return value


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("OPENMP", cpu.openmp() > 0),
        ("LIMITED_API", cpu.limited_api()),
        ("OPTIMISED", cpu.optimised()),
        ("CHECKED", cpu.checked()),
    ],
)
def test_the_build_is_what_this_environment_asked_for(name: str, found: bool) -> None:
    assert str(int(found)) == expected(name)


def test_the_installed_wheel_is_tested_not_the_sources() -> None:
    assert expected("INSTALLED") == "1"
    for module in (cllm, cpu, kernels.executor):
        assert Path(str(module.__file__)).is_relative_to(sys.prefix), module.__file__
    assert not any(Path(entry).resolve() == ROOT / "src" for entry in sys.path)


def test_the_package_came_from_a_source_distribution_or_a_wheel_as_asked() -> None:
    """pip notes what it was given, though it makes a wheel of a source distribution before it installs."""
    origin = json.loads(metadata.distribution("cllm").read_text("direct_url.json") or "{}")
    assert str(origin.get("url")).endswith(".tar.gz" if expected("SDIST") == "1" else ".whl"), origin


def test_the_instruction_set_is_the_one_asked_for_or_the_best() -> None:
    assert os.environ.get("CLLM_ISA", cpu.instruction_sets()[0]) == kernels.ISA


def test_an_abi3_build_says_so_in_its_modules_names() -> None:
    assert (".abi3." in str(cpu.__file__)) == cpu.limited_api()


def test_the_dependencies_are_the_oldest_that_the_package_allows() -> None:
    assert expected("OLDEST") == "1"
    requirements = [line for line in metadata.requires("cllm") or [] if "extra ==" not in line]
    assert len(requirements) >= 6
    for line in requirements:
        match = re.fullmatch(r"([\w.-]+)\s*>=\s*([\d.]+)", line)
        assert match, f"{line}: not of the form NAME>=VERSION"
        assert _release(metadata.version(match[1])) == _release(match[2]), line
    assert sys.version_info[:2] == _release(metadata.metadata("cllm")["Requires-Python"].removeprefix(">="))


def _release(version: str) -> tuple[int, ...]:
    """1.0.0 and 1.0 are one version."""
    numbers = [int(part) for part in version.split(".")]
    while numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def test_the_wheel_brings_no_more_than_the_package() -> None:
    """No build files, no C sources of ours by accident, no caches; but the marker of types and every stub."""
    assert expected("INSTALLED") == "1"
    package = Path(str(cllm.__file__)).parent
    names = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert "py.typed" in names
    assert not [name for name in names if name.endswith(("meson.build", ".pyx", ".c"))]
    sources = {path.relative_to(ROOT / "src/cllm").as_posix() for path in (ROOT / "src/cllm").rglob("*.py*")}
    assert {name for name in sources if name.endswith((".py", ".pyi"))} <= names
