"""Files of JSON lines: whole lines only, whatever was killed, and nothing of later steps after a cut."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from cllm.errors import RunFolderError
from cllm.jsonl import LineWriter, cut_after, whole_lines

LINES = b'{"step": 1}\n{"step": 2}\n{"event": "evaluation"}\n{"step": 4}\n'


def test_every_line_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = LineWriter(path)
    for step in range(3):
        writer.write({"step": step})
        assert json.loads(path.read_bytes().splitlines()[-1]) == {"step": step}
    writer.close()
    writer.close()


def test_records_that_json_lacks_are_still_json(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = LineWriter(path)
    writer.write({"loss": float("nan"), "norms": (float("inf"), 1.5), "more": {"x": float("-inf")}})
    writer.close()
    assert json.loads(path.read_text()) == {"loss": "nan", "norms": ["inf", 1.5], "more": {"x": "-inf"}}


@pytest.mark.parametrize("n_bytes", range(len(LINES) + 1))
def test_a_torn_last_line_is_cut_off_before_anything_is_appended(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(LINES[:n_bytes])
    writer = LineWriter(path)
    writer.append(b"{}")
    writer.close()
    whole = LINES[: LINES.rfind(b"\n", 0, n_bytes) + 1]
    assert path.read_bytes() == whole + b"{}\n"


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    writer, write = LineWriter(path), os.write
    writer.append(b"first")

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:3])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl: No space left"):
        writer.append(b"second")
    monkeypatch.undo()
    writer.append(b"third")
    writer.close()
    assert list(whole_lines(path)) == [b"first", b"third"]


@pytest.mark.parametrize("durable", [False, True])
def test_durable_lines_are_synced(tmp_path: Path, durable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LineWriter(tmp_path / "ledger.jsonl", durable=durable)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    writer.append(b"{}")
    writer.close()
    assert len(synced) == int(durable)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"gone/metrics\.jsonl: No such file"):
        LineWriter(tmp_path / "gone" / "metrics.jsonl")


@pytest.mark.parametrize(("step", "n_left"), [(-1, 0), (0, 0), (1, 1), (2, 3), (3, 3), (4, 4), (5, 4)])
@pytest.mark.parametrize("torn", [b"", b'{"step": 1, "lo'])
def test_a_cut_leaves_what_stands_before_the_first_later_step(
    tmp_path: Path, step: int, n_left: int, torn: bytes
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(LINES + torn)
    cut_after(path, step)
    assert path.read_bytes() == b"".join(LINES.splitlines(keepends=True)[:n_left])


def test_skips_after_the_last_update_are_cut_by_their_batch(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    skipped = [(1, 0), (1, 1), (2, 2), (2, 3), (2, 4), (3, 5)]  # (step, batch): batches 1, 3 and 4 made no update
    lines = [b'{"step": %d, "batch_index": %d}\n' % record for record in skipped]
    for n_batches in (3, 4, 5):
        path.write_bytes(b"".join(lines))
        cut_after(path, 2, n_batches)
        assert path.read_bytes() == b"".join(lines[:n_batches])


@pytest.mark.parametrize("line", [b"\0\0\0", b"[", b"7", b'{"step": "9"}', b"{" * 100_000])
def test_a_cut_passes_over_lines_without_a_step(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line + b"\n" + LINES)
    cut_after(path, 1)
    assert path.read_bytes() == line + b'\n{"step": 1}\n'


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    cut_after(path, 3)
    assert list(whole_lines(path)) == []
    assert not path.exists()
