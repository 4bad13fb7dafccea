"""Plugins for tests: packages that look installed, and files for -p."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cllm.hooks import found


@dataclass
class Shelf:
    """A folder on sys.path where packages with entry points can be put."""

    folder: Path

    def install(self, name: str, source: str, *, distribution: str = "", version: str = "1.0") -> None:
        """Put a module `name` and the metadata of a distribution with the plugin `name` there."""
        distribution = distribution or f"dist-{name}"
        module = f"{name}_of_{distribution}".replace("-", "_")
        self.module(module, source)
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[cllm]\n{name} = {module}\n")

    def module(self, name: str, source: str) -> Path:
        """Put a module there, and return its file."""
        path = self.folder / f"{name}.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """Empty. What else is installed, such as the packages of plugins/, is not found in this process meanwhile."""
    look, elsewhere = found.installed, {one.location for one in found.installed()}
    monkeypatch.setattr(found, "installed", lambda: (one for one in look() if one.location not in elsewhere))
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield Shelf(folder)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
