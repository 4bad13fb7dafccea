"""Text comes whole whatever the size of the pieces, and what is no UTF-8 text is refused with its byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data.utf8 import read_utf8
from cllm.errors import DataError


def read(path: Path, piece_bytes: int = 7) -> str:
    return "".join(read_utf8(path, "test", piece_bytes))


@given(text=st.text(st.characters(exclude_characters="\0\ufeff", codec="utf-8")), size=st.integers(1, 9))
@settings(deadline=None)
def test_pieces_of_any_size_join_to_the_text(text: str, size: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("utf8") / "text"
    path.write_bytes(text.encode())
    assert read(path, size) == text


def test_mark_is_left_out_once_and_line_ends_stay(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("\ufeffone\r\ntwo\r\ufeff".encode())
    assert read(tmp_path / "a") == "one\r\ntwo\r\ufeff"


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b"0123456789\xff", 10, "invalid start byte"),
        (b"01234\xe2\x82", 5, "unexpected end"),  # a character that the end cuts
        (b"012345\xe2\x28\xa1", 6, "invalid continuation"),  # across two pieces of 7
        (b"\xed\xa0\x80", 0, "invalid continuation"),  # half a surrogate pair
        (b"01234567\x0089", 8, "binary"),
        ("text".encode("utf-16"), 0, "UTF-16"),
        ("text".encode("utf-32"), 0, "UTF-32"),
        (b"\x1f\x8b\x08", 0, "gzip"),
        (b"PK\x03\x04", 0, "zip"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(tmp_path: Path, data: bytes, place: int, reason: str) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DataError, match=f"at byte {place} it .*{reason}") as error:
        read(tmp_path / "a")
    assert str(tmp_path / "a") in str(error.value)


def test_place_counts_from_the_mark(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfab\xff")
    with pytest.raises(DataError, match="at byte 5 "):
        read(tmp_path / "a")


def test_missing_files_and_folders_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "missing")
    with pytest.raises(DataError, match="directory"):
        read(tmp_path)
