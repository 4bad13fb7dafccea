"""What `text` and `pydoc` shall read and cannot: other encodings, binaries, nothing, what is no file."""

from __future__ import annotations

import gzip
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

from cllm.errors import CllmError, ConfigError, DataError
from tests.hostile.case import Case, Words


def text(name: str, data: bytes, came: str, todo: str, expected: str = "UTF-8 text") -> Case:
    def make(folder: Path) -> Words:
        (folder / "bad.txt").write_bytes(data)
        return ["prepare", "text", "bad.txt", "--out", "out"]

    return Case(f"text: {name}", make, DataError, "text", ("bad.txt", came), expected, todo)


def source(
    name: str, make: Callable[[Path], object], given: str, came: str, expected: str, todo: str,
    error: type[CllmError] = DataError, who: str = "text",
) -> Case:
    def made(folder: Path) -> Words:
        make(folder)
        return ["prepare", "text", given, "--out", "out"]

    return Case(f"text: {name}", made, error, who, came, expected, todo)


def nothing(folder: Path) -> None:
    pass


def hidden_files(folder: Path) -> None:
    (folder / "books").mkdir()
    (folder / "books" / ".hidden").write_text("text")


def empty_files(folder: Path) -> None:
    (folder / "books").mkdir()
    for name in "ab":
        (folder / "books" / name).touch()


def one_is_bad(folder: Path) -> None:
    (folder / "books").mkdir()
    (folder / "books" / "1.txt").write_text("good")
    (folder / "books" / "2.txt").write_bytes(b"bad \xff")


def broken_link(folder: Path) -> None:
    (folder / "books").mkdir()
    (folder / "books" / "link.txt").symlink_to("gone")


def a_loop(folder: Path) -> None:
    (folder / "loop.txt").symlink_to("loop.txt")


def a_pipe(folder: Path) -> None:
    (folder / "books").mkdir()
    os.mkfifo(folder / "books" / "pipe")


def pipe_to_learn_from(folder: Path) -> Words:
    os.mkfifo(folder / "pipe")
    return ["prepare", "text", "pipe", "--tokenizer", "char", "--out", "out"]


def pipe_to_train_on(folder: Path) -> Words:
    os.mkfifo(folder / "pipe")
    return ["train", "--data", "pipe", "--out", "out"]


def a_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        before = Path.cwd()
        os.chdir(folder)  # the name of a socket has at most 107 characters
        door.bind("door")
        os.chdir(before)


def sparse(folder: Path) -> None:
    (folder / "sparse.txt").touch()
    os.truncate(folder / "sparse.txt", 1 << 40)


def tar(folder: Path) -> None:
    (folder / "a").write_text("text")
    with tarfile.open(folder / "books.tar", "w") as archive:
        archive.add(folder / "a", "a")


def pydoc_with_a_source(folder: Path) -> Words:
    return ["prepare", "pydoc", "x.txt", "--out", "out"]


CHECK = "check the path"
CASES = [
    text("an empty file", b"", "is empty", "name another file", "a file with text"),
    text("a byte order mark alone", b"\xef\xbb\xbf", "is empty", "name another file", "a file with text"),
    text("a zero byte", b"good until\0", "at byte 10 it has a zero byte: it is binary", "name a text file"),
    text("bytes that are no UTF-8", b"good until \xff", "at byte 11 it is not UTF-8 (byte 0xff", "convert it to UTF-8"),
    text("a character cut at the end", "é".encode()[:1], "at byte 0 it is not UTF-8", "convert it to UTF-8"),
    text("overlong UTF-8", b"a\xc0\xaf", "at byte 1 it is not UTF-8", "convert it to UTF-8"),
    text("half a surrogate pair", b"a\xed\xa0\x80", "at byte 1 it is not UTF-8", "convert it to UTF-8"),
    text("far behind", b"a" * (3 << 20) + b"\xff", "at byte 3,145,728 it is not UTF-8", "convert it to UTF-8"),
    text("UTF-16", "text".encode("utf-16-le").join([b"\xff\xfe", b""]), "begins like a UTF-16 file", "convert it from"),
    text("UTF-32", "text".encode("utf-32"), "begins like a UTF-32 file", "convert it from UTF-32"),
    text("gzip of zeros", gzip.compress(bytes(50 << 20)), "begins like a gzip file", "convert it from gzip"),
    text("zip", b"PK\3\4\x14\0\0\0\x08\0" + bytes(500), "begins like a zip file", "convert it from zip"),
    text("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "at byte 8 it has a zero byte: it is binary",
         "name a text file"),
    text("a program", b"\x7fELF\2\1\1\0", "at byte 7 it has a zero byte: it is binary", "name a text file"),
    text("a pickle", b"\x80\x04\x95\x10\0\0\0", "has a zero byte: it is binary", "name a text file"),
    source("missing", nothing, "gone.txt", "gone.txt: No such file", "a file that can be read", CHECK),
    source("no match", nothing, "*.text", "no files in *.text", "a glob that matches some", CHECK),
    source("an empty folder", nothing, ".", "no files in .", "a folder with files", CHECK),
    source("a folder of hidden files", hidden_files, "books", "no files in books", "a folder with files", CHECK),
    source("a folder of empty files", empty_files, "books", "nothing but empty files in books", "text", "name another"),
    source("one file of a folder", one_is_bad, "books", "books/2.txt: at byte 4 it is not UTF-8", "UTF-8",
           "convert it"),
    source("a broken link", broken_link, "books", "link.txt: No such file", "a file that can be read", CHECK),
    source("a link to itself", a_loop, "loop.txt", "loop.txt: Too many levels", "a file that can be read", CHECK),
    source("a folder with a pipe", a_pipe, "books", "no files in books", "a folder with files", CHECK),
    source("a socket", a_socket, "door", "door: No such device", "a file that can be read", CHECK),
    source("a terabyte of nothing", sparse, "sparse.txt", "at byte 0 it has a zero byte", "UTF-8", "name a text file"),
    source("a tar archive", tar, "books.tar", "it has a zero byte: it is binary", "UTF-8 text", "name a text file"),
    source("a name with a zero byte", nothing, "a\0b", "embedded null byte", "a file that can be read", CHECK),
    source("a pattern with a zero byte", nothing, "a\0*", "a\0*", "a glob that matches some", CHECK),
    source("a name of 5,000 letters", nothing, "n" * 5000, "File name too long", "a file that can be read", CHECK),
    source("nothing but zeros forever", nothing, "/dev/zero", "/dev/zero: at byte 0", "UTF-8 text", "name a text file"),
    source("nothing forever", nothing, "/dev/null", "/dev/null is empty", "a file with text", "name another file"),
    Case("text: a pipe for a tokenizer that learns", pipe_to_learn_from, DataError, "prepare",
         "pipe is a pipe or a device, for char learns from the text", "files, which can be read twice",
         "write it to a file"),
    Case("text: a pipe to train on", pipe_to_train_on, DataError, "data",
         "pipe is a pipe or a device, and text is read",
         "files, which can be read twice", "write it to a file"),
    Case("pydoc: a source", pydoc_with_a_source, ConfigError, "config", 'source = "x.txt"', "nothing", "remove it"),
]
