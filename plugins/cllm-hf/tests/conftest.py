"""Both libraries read where the Hub and the cache are when they are imported: so that is said before any test is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import Hub

HUB = Hub()
CACHE = tempfile.TemporaryDirectory()
os.environ |= {"HF_ENDPOINT": HUB.address, "HF_HOME": CACHE.name, "HF_HUB_DISABLE_XET": "1"}
for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_TOKEN"):
    os.environ.pop(name, None)


@pytest.fixture
def hub() -> Iterator[Hub]:
    yield HUB
    HUB.repositories.clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
