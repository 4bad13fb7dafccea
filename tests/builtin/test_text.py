"""Text files, folders and globs: what is read, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm.builtin.text import TextConfig, TextDataset
from cllm.data import utf8
from cllm.data.files import natural_key
from cllm.errors import DataError
from tests.data.helpers import whole_texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("file10.txt", "file2.txt", "sub/file1.txt", "sub/deeper/a.md", ".hidden.txt", ".git/config"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")
    (tmp_path / "folder/empty.txt").write_text("")
    return tmp_path / "folder"


def read(*sources: Path | str) -> list[str]:
    names = [str(source) for source in sources]
    return [
        text.removeprefix("text of ")
        for text in whole_texts(TextDataset(TextConfig(names if len(names) > 1 else names[0])))
    ]


def test_file_folder_and_globs(folder: Path) -> None:
    assert read(folder / "file2.txt") == ["file2.txt"]
    assert read(folder) == ["file2.txt", "file10.txt", "sub/deeper/a.md", "sub/file1.txt"]
    assert read(f"{folder}/*.txt") == ["file2.txt", "file10.txt"]
    assert read(f"{folder}/**/*.txt") == ["file2.txt", "file10.txt", "sub/file1.txt"]
    assert read(f"{folder}/file[12]*.txt") == ["file2.txt", "file10.txt"]


def test_sources_keep_their_order_and_no_file_is_read_twice(folder: Path) -> None:
    assert read(folder / "sub/file1.txt", folder / "file10.txt") == ["sub/file1.txt", "file10.txt"]
    assert read(folder / "file10.txt", f"{folder}/*.txt", folder / "file10.txt") == [
        "file10.txt",
        "file2.txt",
    ]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("text of it")
    assert read(tmp_path / "a[1].txt") == ["it"]


def test_natural_order() -> None:
    names = ["a1", "a01", "a2", "a10", "b", "a", "1", "10", "9", "a1b2", "a1b10"]
    assert sorted(names, key=natural_key) == [
        "1",
        "9",
        "10",
        "a",
        "a01",
        "a1",
        "a1b2",
        "a1b10",
        "a2",
        "a10",
        "b",
    ]


def test_home_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert read("~/file2.txt") == ["file2.txt"]
    assert read("~/*2.txt") == ["file2.txt"]


def test_a_large_file_comes_in_pieces(tmp_path: Path) -> None:
    text = "é" * (utf8.PIECE_BYTES + 3)
    (tmp_path / "large").write_text(text)
    documents = list(TextDataset(TextConfig(str(tmp_path / "large"))).documents())
    assert len(documents) == 3 and [document.continues for document in documents] == [False, True, True]
    assert whole_texts(TextDataset(TextConfig(str(tmp_path / "large")))) == [text]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"good until \xff", "at byte 11 .*not UTF-8"),
        (b"a\0b", "at byte 1 .*binary"),
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "bad.txt").write_bytes(data)
    with pytest.raises(DataError, match=f"bad.txt.*{reason}"):
        read(tmp_path / "good.txt", tmp_path / "bad.txt")


def test_sources_without_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no files in"):
        read(tmp_path / "folder")
    with pytest.raises(DataError, match="no files in"):
        read(tmp_path / "*.txt")
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "missing.txt")
    (tmp_path / "folder/empty.txt").write_text("")
    with pytest.raises(DataError, match="nothing but empty files"):
        read(tmp_path / "folder")
    with pytest.raises(DataError, match="no source"):
        whole_texts(TextDataset(TextConfig([])))
