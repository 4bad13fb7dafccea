"""Reads a UTF-8 file piece by piece, or says at which byte it is not one."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cllm.errors import DataError

PIECE_BYTES = 1 << 20

_FOREIGN_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16: its mark begins with the same two bytes
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
)
_MARK_BYTES = 4  # of the longest mark: the first piece is not shorter, or a mark would be cut and go unseen


def read_utf8(path: Path, who: str, piece_bytes: int = PIECE_BYTES) -> Iterator[str]:
    """Yield the file's text in order, about `piece_bytes` bytes at a time, without its byte order mark.

    Line ends stay as they are. Memory is bounded by the piece, whatever the file's size.

    Raises DataError, with the file and the byte offset, where the file cannot be read, holds a zero byte
    (then it is binary, not text) or is not UTF-8.
    """
    with open_binary(path, who) as stream:
        decoder = codecs.getincrementaldecoder("utf-8")()
        offset = 0
        while True:
            piece = _read(stream, max(piece_bytes, _MARK_BYTES), path, who)
            if offset == 0:
                _refuse_foreign(piece, path, who)
            text = _decode(decoder, piece, offset, path, who)
            if offset == 0:
                text = text.removeprefix("\ufeff")
            if text:
                yield text
            if not piece:
                return
            offset += len(piece)


def open_binary(path: Path, who: str) -> BinaryIO:
    """Open `path` for reading bytes; a DataError says why it cannot be done."""
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in its name
        raise unreadable(path, who, error) from None


def unreadable(path: Path, who: str, error: OSError | ValueError) -> DataError:
    """The DataError for a file that the system would not read."""
    return DataError(
        who=who,
        came=f"{path}: {getattr(error, 'strerror', None) or error}",
        expected="a file that can be read",
        todo="check the path and its permissions",
    )


def _read(stream: BinaryIO, size: int, path: Path, who: str) -> bytes:
    try:
        return stream.read(size)
    except OSError as error:
        raise unreadable(path, who, error) from None


def _refuse_foreign(head: bytes, path: Path, who: str) -> None:
    for mark, name in _FOREIGN_MARKS:
        if head.startswith(mark):
            raise _not_text(path, who, 0, f"begins like a {name} file", f"convert it from {name} to UTF-8 text first")


def _decode(decoder: codecs.IncrementalDecoder, piece: bytes, offset: int, path: Path, who: str) -> str:
    zero = piece.find(0)
    if zero >= 0:
        raise _not_text(path, who, offset + zero, "has a zero byte: it is binary", "name a text file")
    pending = decoder.getstate()[0]  # bytes of a character that the last piece cut in two
    try:
        return decoder.decode(piece, final=not piece)
    except UnicodeDecodeError as error:
        place = offset - len(pending) + error.start
        byte = error.object[error.start]
        came = f"is not UTF-8 (byte 0x{byte:02x}: {error.reason})"
        raise _not_text(path, who, place, came, "convert it to UTF-8 first") from None


def _not_text(path: Path, who: str, place: int, came: str, todo: str) -> DataError:
    return DataError(who=who, came=f"{path}: at byte {place:,} it {came}", expected="UTF-8 text", todo=todo)
