"""Text of any size passes through `cllm prepare` in memory that does not grow with it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cllm.data import spool
from cllm.data.spool import Spool
from cllm.errors import MemoryLimitError
from tests.hostile.large import prepared, tell

MB, GB = 10**6, 10**9
BOUND = 256 * MB


def test_six_times_the_text_takes_no_more_memory(tmp_path: Path) -> None:
    less, more = (prepared(size, tmp_path / f"{size}") for size in (20 * MB, 120 * MB))
    assert (more.report["n_documents"], less.report["n_documents"]) == (more.n_articles, less.n_articles)
    assert more.peak < BOUND and more.peak - less.peak < 4 * MB


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_gigabytes_pass_within_256_mb(tmp_path: Path) -> None:
    done = prepared(10 * GB, tmp_path / "out")
    assert done.n_bytes >= 10 * GB and done.report["n_documents"] == done.n_articles
    tell(done)
    assert done.peak < BOUND


def test_more_documents_than_memory_are_refused_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_CHECKED_EVERY", 4)
    monkeypatch.setattr("cllm.bounded.memory_limit", lambda: 9 * spool.DOCUMENT)
    with closing(Spool(tmp_path, 256)) as tokens:
        for _ in range(7):
            tokens.add(np.array([7]), begins=True)
        with pytest.raises(MemoryLimitError, match="8 documents so far need about"):
            tokens.add(np.array([7]), begins=True)
