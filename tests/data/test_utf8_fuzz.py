"""Bytes of any kind in pieces of any size: read_utf8 finds the text, or the fault, where bytes.decode does."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.data.utf8 import read_utf8
from cllm.errors import DataError
from tests.fuzzing import fuzzed

# What other kinds of files begin with; some of it is sound UTF-8.
FOREIGN = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff", b"\x1f\x8b", b"PK\x03\x04")
ODD = (
    b"\xef\xbb\xbf", b"\r\n", b"\x00", b"\x80", b"\xc0\x80", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xed\x9f\xbf",
    b"\xf0\x9f\x98", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x80\xa8", *FOREIGN,
)
CHUNKS = st.one_of(st.text(max_size=5).map(str.encode), st.binary(max_size=4), st.sampled_from(ODD))


def found(path: Path, piece_bytes: int) -> str | int:
    """The text, or the byte that is said to be wrong."""
    try:
        return "".join(read_utf8(path, "test", piece_bytes))
    except DataError as error:
        place = re.search(r"at byte ([\d,]+) it", error.came)
        assert place, error
        return int(place[1].replace(",", ""))


def allowed(data: bytes) -> set[str] | set[int]:
    """The text alone; or the first zero byte and the first that is no UTF-8, either of which may be met first."""
    if data.startswith(FOREIGN):
        return {0}
    faults = {data.find(0)} - {-1}
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return faults | {error.start}
    return faults or {text.removeprefix("\ufeff")}


@fuzzed(500, 10_000)
def test_any_bytes_in_any_pieces(length: settings, tmp_path: Path) -> None:
    @length
    @given(chunks=st.lists(CHUNKS, max_size=8), n_cut=st.integers(0, 3), piece_bytes=st.integers(1, 12))
    def check(chunks: list[bytes], n_cut: int, piece_bytes: int) -> None:
        data = b"".join(chunks)
        data = data[: len(data) - n_cut]
        (tmp_path / "a").write_bytes(data)
        assert found(tmp_path / "a", piece_bytes) in allowed(data)

    check()
