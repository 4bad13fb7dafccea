"""What an index shows of the package, and what the source distribution holds: what is committed, nothing else."""

from __future__ import annotations

import email.message
import email.parser
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT
from tests.test_build import expected
from tools.wheel import built, run

MUST = ("pyproject.toml", "meson.build", "meson.options", "README.md", "LICENSE", "CHANGELOG.md",
        "src/cllm/trainer.py", "src/cllm/_kernels/executor.pyx", "src/cllm/_kernels/simd.h", "tests/test_golden.py",
        "docs/index.md", "tox.ini")
MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert expected("WHEEL") == "1"
    out = tmp_path_factory.mktemp("sdist")
    run([sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(out), str(ROOT)])
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def said() -> email.message.Message:
    """The METADATA of the wheel that was built."""
    assert expected("WHEEL") == "1"
    with zipfile.ZipFile(built()) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.BytesParser().parsebytes(wheel.read(name))


def test_the_source_distribution_is_what_is_committed(sdist: Path) -> None:
    listing = ["git", "ls-tree", "-r", "--name-only", "HEAD"]
    committed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if committed.returncode:
        pytest.skip("no clone of the repository")
    with tarfile.open(sdist) as file:
        members = file.getmembers()
    top = sdist.name.removesuffix(".tar.gz")
    names = {member.name.removeprefix(f"{top}/") for member in members if member.isfile()}
    assert names == {*committed.stdout.splitlines(), "PKG-INFO"}
    assert set(MUST) <= names
    assert all(member.isfile() or member.isdir() for member in members)
    assert sdist.stat().st_size < MOST_BYTES


def test_the_source_distribution_says_of_itself_what_the_wheel_says(sdist: Path, said: email.message.Message) -> None:
    with tarfile.open(sdist) as file:
        information = file.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/PKG-INFO")
        assert information is not None
        other = email.parser.BytesParser().parsebytes(information.read())
    assert sorted(other.items()) == sorted(said.items())


def test_the_description_renders(said: email.message.Message) -> None:
    markdown = pytest.importorskip("readme_renderer.markdown", reason="tox -e wheel has it")
    assert said["Description-Content-Type"].startswith("text/markdown")
    shown = markdown.render(said.get_payload())
    assert shown and re.search(r"<h1[^>]*>cllm<", shown)
    assert "<table>" in shown and "<!-- test" not in shown


def test_every_classifier_is_one(said: email.message.Message) -> None:
    trove = pytest.importorskip("trove_classifiers", reason="tox -e wheel has it")
    classifiers = said.get_all("Classifier") or []
    assert len(classifiers) >= 8
    assert set(classifiers) <= trove.classifiers


def test_pythons_are_those_that_tox_tests(said: email.message.Message) -> None:
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    tested = {f"3.{minor}" for minor in re.findall(r"\bpy3(\d+)\b", tox)}
    named = {line.rsplit(" ", 1)[1] for line in said.get_all("Classifier") or [] if re.search(r":: 3\.\d+$", line)}
    assert named == tested
    assert said["Requires-Python"] == f">={min(tested, key=lambda version: int(version[2:]))}"


def test_the_licence_is_said_and_brought(said: email.message.Message) -> None:
    assert said["License-Expression"] == "MIT"
    assert said.get_all("License-File") == ["LICENSE"]
    assert not [line for line in said.get_all("Classifier") or [] if line.startswith("License ::")]


def test_no_address_is_given_that_nobody_answers(said: email.message.Message) -> None:
    assert not [key for key in ("Home-page", "Download-URL", "Project-URL", "Author-email") if said[key]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "urls" not in project
