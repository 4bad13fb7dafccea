"""Text of any size passes through `cllm prepare` in memory that does not grow with it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cllm.data import spool
from cllm.data.spool import Spool
from cllm.errors import MemoryLimitError
from tests.hostile.large import pieces, prepared, records, tell

MB, GB = 10**6, 10**9
BOUND = 256 * MB


def test_six_times_the_text_takes_no_more_memory(tmp_path: Path) -> None:
    less, more = (prepared("squad", pieces(size), tmp_path / f"{size}") for size in (20 * MB, 120 * MB))
    assert (more.report["n_documents"], less.report["n_documents"]) == (more.n_pieces, less.n_pieces)
    assert more.peak < BOUND and more.peak - less.peak < 4 * MB


RECORDS = {
    "jsonl": (b"", b'{"text": "%s"}\n' % (b"x" * 1980)),
    "csv": (b"n,text\n", b'1,"%s\n%s"\n' % (b"x" * 990, b"x" * 990)),
    "markdown": (b"---\ntitle: x\n---\n", b"x" * 1999 + b"\n"),
}


@pytest.mark.parametrize("loader", RECORDS)
def test_nor_do_the_other_loaders(loader: str, tmp_path: Path) -> None:
    less, more = (
        prepared(loader, records(size, *RECORDS[loader]), tmp_path / f"{size}") for size in (5 * MB, 60 * MB)
    )
    for one in (less, more):
        assert one.report["n_documents"] == (1 if loader == "markdown" else 50 * (one.n_pieces - 1))
    assert more.report["n_tokens"] > 58 * MB and more.peak < BOUND and more.peak - less.peak < 6 * MB


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_gigabytes_pass_within_256_mb(tmp_path: Path) -> None:
    done = prepared("squad", pieces(10 * GB), tmp_path / "out")
    assert done.n_bytes >= 10 * GB and done.report["n_documents"] == done.n_pieces
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
