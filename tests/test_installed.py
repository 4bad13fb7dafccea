"""What `pip install cllm` brings: six small libraries, and with them less than 100 MB. Where the wheel is installed."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_build import expected

BASE = {"ijson", "msgspec", "numpy", "pluggy", "safetensors", "tomli-w"}
MOST_BYTES = 100_000_000


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


def installed_bytes(name: str) -> int:
    """Of the files that the installer noted, with what it compiled of them."""
    files = metadata.files(name)
    assert files, f"{name} does not say which files are its own"
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


def test_the_base_is_six_libraries() -> None:
    assert needed("cllm") == BASE


def test_the_base_has_less_than_100_megabytes() -> None:
    assert expected("INSTALLED") == "1"
    sizes = {name: installed_bytes(name) for name in with_all_that_they_need({"cllm"})}
    assert sizes.keys() >= BASE | {"cllm"}
    assert sum(sizes.values()) < MOST_BYTES, sizes
