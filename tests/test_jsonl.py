"""Files of JSON lines: whole lines only, whatever was killed, and nothing of later batches after a cut."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from cllm.errors import RunFolderError
from cllm.jsonl import LineWriter, cut_from, whole_lines

LINES = b'{"batch_index": 1}\n{"batch_index": 2}\n{"event": "evaluation"}\n{"batch_index": 4}\n'


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


def test_a_durable_line_that_the_disk_lied_about_is_refused_and_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "ledger.jsonl", os.write
    writer = LineWriter(path, durable=True)
    writer.append(b"first")

    def lying(descriptor: int, data: bytes) -> int:
        write(descriptor, data[:3])
        return len(data)

    monkeypatch.setattr(os, "write", lying)
    with pytest.raises(RunFolderError, match="what was read back is not what was written"):
        writer.append(b"second")
    monkeypatch.undo()
    writer.append(b"third")
    writer.close()
    assert path.read_bytes() == b"first\nthird\n"


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


@pytest.mark.parametrize(("batch", "n_left"), [(0, 0), (1, 0), (2, 1), (3, 3), (4, 3), (5, 4), (6, 4)])
@pytest.mark.parametrize("torn", [b"", b'{"batch_index": 1, "lo'])
def test_a_cut_leaves_what_stands_before_the_batch(tmp_path: Path, batch: int, n_left: int, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(LINES + torn)
    cut_from(path, batch)
    assert path.read_bytes() == b"".join(LINES.splitlines(keepends=True)[:n_left])


def test_steps_that_were_gone_back_over_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [b'{"step": %d, "batch_index": %d}\n' % record for record in [(1, 0), (2, 1), (3, 2), (1, 3), (2, 4)]]
    path.write_bytes(b"".join(lines))
    cut_from(path, 4)
    assert path.read_bytes() == b"".join(lines[:4])


@pytest.mark.parametrize("line", [b"\0\0\0", b"[", b"7", b'{"batch_index": "9"}', b"{" * 100_000])
def test_a_cut_passes_over_lines_without_a_batch(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line + b"\n" + LINES)
    cut_from(path, 2)
    assert path.read_bytes() == line + b'\n{"batch_index": 1}\n'


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    cut_from(path, 3)
    assert list(whole_lines(path)) == []
    assert not path.exists()
