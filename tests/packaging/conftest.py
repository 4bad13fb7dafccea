"""The wheel as it would be published, made once, and bare environments of the oldest and the newest Python with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.test_build import expected
from tools.wheel import Bare, built, repaired, run

VERSIONS = ("3.11", "3.13")  # of Python: the one whose stable ABI the wheel has, and the newest that is tested


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that tox has built for all its environments, repaired."""
    assert expected("WHEEL") == "1"
    return repaired(built(), tmp_path_factory.mktemp("repaired"))


@pytest.fixture(scope="session", params=VERSIONS)
def bare(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    made = Bare(tmp_path_factory.mktemp("bare"), request.param)
    if not made.there:
        pytest.skip(f"no Python {request.param} on this machine")
    made.install(wheel)
    return made


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pytest, for PYTHONPATH: what runs there sees it, and the environments stay bare."""
    folder = tmp_path_factory.mktemp("runner")
    run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "pytest>=8"])
    return folder
