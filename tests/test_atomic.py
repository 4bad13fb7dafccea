"""Atomic writing: the old bytes or the new ones, never a mixture, and no lie of the disk gets through."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cllm import atomic
from cllm.digest import bytes_digest
from cllm.errors import CheckpointError, CllmError, RunFolderError


def failing(call: Callable[..., Any], number: int, code: int) -> Callable[..., Any]:
    """`call`, which fails at its call number `number` with the errno `code`."""
    calls = [0]

    def wrapped(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            raise OSError(code, os.strerror(code))
        return call(*arguments, **options)

    return wrapped


def old(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("data", [b"", b"new", b"x" * 3_000_000])
def test_a_file_is_replaced(tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "PIECE_BYTES", 1 << 20)
    path = old(tmp_path)
    assert atomic.write_file(path, data) == bytes_digest(data)
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["config.toml"]


def test_new_files_have_the_mode_of_the_users_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic.write_file(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_the_order_is_write_sync_verify_rename_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noted(module: object, name: str) -> None:
        call = getattr(module, name)

        def wrapped(*arguments: Any) -> Any:
            order.append(name)
            return call(*arguments)

        monkeypatch.setattr(module, name, wrapped)

    for name in ("write", "fsync", "rename"):
        noted(os, name)
    noted(atomic, "check_digest")
    atomic.write_file(tmp_path / "file", b"x")
    assert order == ["write", "fsync", "check_digest", "rename", "fsync"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
    atomic.write_file(tmp_path / "file", b"abcdefg")
    assert (tmp_path / "file").read_bytes() == b"abcdefg"


def test_a_short_write_that_lies_does_not_replace_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = old(tmp_path), os.write

    def lying(descriptor: int, data: memoryview) -> int:
        write(descriptor, data[:2])
        return len(data)

    monkeypatch.setattr(os, "write", lying)
    with pytest.raises(OSError, match="what was read back is not what was written") as problem:
        atomic.write_file(path, b"abcdefg")
    assert problem.value.errno == errno.EIO
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["config.toml"]


def test_bits_that_flip_on_the_disk_do_not_replace_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = old(tmp_path), os.fsync

    def flipping(descriptor: int) -> None:
        os.pwrite(descriptor, b"?", 3)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flipping)
    with pytest.raises(OSError, match="what was read back"):
        atomic.write_file(path, b"abcdefg")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("name", ["open", "write", "fsync", "rename"])
def test_a_failing_call_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    path = old(tmp_path)
    monkeypatch.setattr(os, name, failing(getattr(os, name), 1, code))
    with pytest.raises(OSError, match=r".") as problem:
        atomic.write_file(path, b"new")
    monkeypatch.undo()
    assert problem.value.errno == code
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["config.toml"]


def test_a_failed_fsync_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        atomic.write_file(tmp_path / "file", b"new")
    assert len(calls) == 1


def test_a_folder_that_cannot_be_synced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(os.fsync, 2, errno.EIO))
    with pytest.raises(OSError, match=f"Input/output error.*{tmp_path.name}"):
        atomic.write_file(tmp_path / "file", b"new")


def test_a_file_that_is_there_is_never_written_into(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        atomic.write_verified(old(tmp_path), [b"new"])


@pytest.mark.parametrize("error", [CheckpointError, RunFolderError])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "No space left on device; expected a disk with room; free some space"),
        (errno.EROFS, "Read-only file system; expected a file system that can be written; write to another"),
        (errno.EACCES, "Permission denied; expected permission to read and write there; change its"),
        (errno.EEXIST, "File exists; expected a folder, or nothing of that name; choose another path"),
        (errno.EIO, "check the disk"),
        (errno.ENOENT, "No such file or directory; expected a path that is there; check the path"),
        (errno.EMFILE, "Too many open files; expected a file system that takes it; see the system's message"),
    ],
)
def test_errors_of_the_disk_name_file_reason_and_remedy(error: type[CllmError], code: int, words: str) -> None:
    with (
        pytest.raises(error, match=f"^part: cannot use /some/file: .*{words}") as problem,
        atomic.disk_errors(error, "part", Path("/some/file")),
    ):
        raise OSError(code, os.strerror(code))
    assert isinstance(problem.value.__cause__, OSError)


def test_the_file_that_failed_is_named_rather_than_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", failing(os.write, 1, errno.ENOSPC))
    with (
        pytest.raises(CheckpointError, match=f"cannot use {tmp_path / 'model'}: No space left"),
        atomic.disk_errors(CheckpointError, "checkpoint", tmp_path),
    ):
        atomic.write_verified(tmp_path / "model", [b"x"])


def test_what_was_to_be_written_is_named_rather_than_the_file_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "file"
    with pytest.raises(RunFolderError, match=f"cannot use {path}: No such"), \
            atomic.disk_errors(RunFolderError, "part", path):
        atomic.write_file(path, b"x")


def test_other_exceptions_pass_through_disk_errors() -> None:
    with pytest.raises(KeyError), atomic.disk_errors(CheckpointError, "part", Path("file")):
        raise KeyError("x")


def test_only_temporaries_are_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    folder = tmp_path / "folder"
    (folder / ".tmp-step-1-2" / "deep").mkdir(parents=True)
    (folder / ".tmp-config-3").touch()
    (folder / ".tmp-link").symlink_to(outside)
    (folder / "config.toml").touch()
    (folder / ".hidden").touch()
    atomic.remove_temporaries(folder)
    assert sorted(os.listdir(folder)) == [".hidden", "config.toml"]
    assert os.listdir(outside) == ["kept"]


def test_temporary_names_differ_and_are_recognized(tmp_path: Path) -> None:
    names = {atomic.temporary_beside(tmp_path / "file").name for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(atomic.TEMPORARY) for name in names)
