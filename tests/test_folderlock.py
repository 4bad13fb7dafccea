"""The lock of a run folder: one holder, named to others, gone with its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cllm.errors import RunFolderError
from cllm.folderlock import FolderLock

HOLD = """
import pathlib, sys
from cllm.folderlock import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]))
print(1, flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock")
    with pytest.raises(RunFolderError, match=f"{tmp_path.name} is in use by process {os.getpid()} on "):
        FolderLock(tmp_path / "lock")
    lock.release()
    lock.release()
    FolderLock(tmp_path / "lock").release()


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        with pytest.raises(RunFolderError, match=f"in use by process {process.pid} on "):
            FolderLock(path)
        process.kill()
    FolderLock(path).release()


def test_a_file_without_a_name_in_it_is_described(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock")
    (tmp_path / "lock").write_bytes(b"")
    with pytest.raises(RunFolderError, match="in use by another process"):
        FolderLock(tmp_path / "lock")
    lock.release()
