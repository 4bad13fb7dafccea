"""Token files that are damaged, forged or of another kind: `.tokens` with headers that lie, nanoGPT's `.bin`."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cllm.data.tokenfile import DIGEST_BYTES, aligned, header_digest
from cllm.data.tokenwrite import make_header, write_tokens
from cllm.errors import CllmError, ConfigError, DataError, MemoryLimitError, TokenFileError, TokenizerError
from tests.hostile.case import Case, Words
from tests.hostile.samples import SMALL, settings

Change = Callable[[bytes], bytes]


def trains(data: str, *more: str) -> Words:
    return ["train", "--data", data, "--out", "out", *settings(*SMALL, *more)]


def whole(folder: Path, starts: list[int] | None = None, vocab_size: int = 300) -> bytes:
    path = folder / "whole.tokens"
    write_tokens(path, np.arange(1000) % vocab_size, vocab_size, starts or [0, 10, 999])
    data = path.read_bytes()
    path.unlink()
    return data


def forged(data: bytes, raw: tuple[bytes, bytes] = (b"", b""), **changes: Any) -> bytes:
    """With other fields in its header, all digests right: what a program writes, not what a disk does to it.

    raw: what of the header's bytes is replaced, and by what.
    """
    n = int.from_bytes(data[8:16], "little")
    header = msgspec.json.decode(data[64 : 64 + n]) | changes
    text = msgspec.json.encode(header).replace(*raw)
    begin = data[:8] + len(text).to_bytes(8, "little")
    start = (begin + header_digest(begin, text)).ljust(64, b"\0") + text
    body = start.ljust(aligned(64 + len(text)), b"\0") + data[aligned(64 + n) : -DIGEST_BYTES]
    return body + hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


def tokens(
    name: str, change: Change, came: str, expected: str, todo: str = "run `cllm prepare` again",
    error: type[CllmError] = TokenFileError, starts: list[int] | None = None,
) -> Case:
    def make(folder: Path) -> Words:
        (folder / "bad.tokens").write_bytes(change(whole(folder, starts)))
        return trains("bad.tokens")

    return Case(f"tokens: {name}", make, error, "token file", ("bad.tokens", came), expected, todo)


def header(name: str, changes: dict[str, Any], came: str, expected: str,
           todo: str = "run `cllm prepare` again") -> Case:
    return tokens(f"the header says {name}", lambda data: forged(data, **changes), came, expected, todo)


def flipped(place: int) -> Change:
    return lambda data: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] if place >= 0 else (
        data[:place] + bytes([data[place] ^ 1]) + data[len(data) + place + 1 :]
    )


def nanogpt(
    name: str, data: bytes, came: str, expected: str, todo: str, *more: str, error: type[CllmError] = TokenFileError,
    who: str = "token file",
) -> Case:
    def make(folder: Path) -> Words:
        (folder / "bad.bin").write_bytes(data)
        return trains("bad.bin", *more)

    return Case(f"nanoGPT: {name}", make, error, who, came, expected, todo)


def lone_train_bin(folder: Path) -> Words:
    (folder / "data").mkdir()
    np.arange(200, dtype="<u2").tofile(folder / "data" / "train.bin")
    return trains("data")


def validation_is_empty(folder: Path) -> Words:
    lone_train_bin(folder)
    (folder / "data" / "val.bin").touch()
    return trains("data")


def pickled_beside(folder: Path) -> Words:
    """meta.pkl is never read: here a vocabulary of 3 in it would be believed, and the tokens refused by another."""
    validation_is_empty(folder)
    (folder / "data" / "meta.pkl").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    return trains("data")


def sparse_documents(folder: Path) -> Words:
    """Sound by its header and its size: 10^11 documents, whose starts would be 800 GB of zeros."""
    n = 10**11
    text = msgspec.json.encode(make_header(n, n, 256))
    begin = b"CLLMTOK1" + len(text).to_bytes(8, "little")
    start = (begin + header_digest(begin, text)).ljust(64, b"\0") + text
    (folder / "sparse.tokens").write_bytes(start)
    os.truncate(folder / "sparse.tokens", aligned(aligned(aligned(64 + len(text)) + 8 * n) + n) + DIGEST_BYTES)
    return trains("sparse.tokens")


def sparse_answers(folder: Path) -> Words:
    """10^10 answers by header and size, all zeros: none of them is a span."""
    n = 10**10
    text = msgspec.json.encode(msgspec.structs.replace(make_header(n, 1, 256), n_answers=n))
    begin = b"CLLMTOK1" + len(text).to_bytes(8, "little")
    start = (begin + header_digest(begin, text)).ljust(64, b"\0") + text
    (folder / "sparse.tokens").write_bytes(start)
    os.truncate(folder / "sparse.tokens", aligned(aligned(64 + len(text)) + 64 + 16 * n) + aligned(n) + DIGEST_BYTES)
    return trains("sparse.tokens")


def too_short(folder: Path) -> Words:
    write_tokens(folder / "short.tokens", [1, 2, 3], 5)
    return trains("short.tokens")


def beyond_the_model(folder: Path) -> Words:
    write_tokens(folder / "a.tokens", np.arange(1000) % 300, 300)
    return trains("a.tokens", "model.vocab_size=299")


def huge_vocabulary(folder: Path) -> Words:
    write_tokens(folder / "a.tokens", np.arange(1000) % 300, 1 << 31)
    return trains("a.tokens", "model.n_embd=512")


def tokenizer_is_gone(folder: Path) -> Words:
    data = forged(whole(folder), tokenizer="char", tokenizer_digest="ab" * 32)
    (folder / "a.tokens").write_bytes(data)
    return trains("a.tokens")


ALTERED = "the header as it was written"
COUNTS, EACH = "impossible counts", "at least one token in each document"
RISE = "starts that begin with 0 and rise"
NOT_ONE, PREPARE = "a file of `cllm prepare`, or nanoGPT's .bin", "prepare the text first"
TWO, FETCH = "uint16 tokens, two bytes each, at least one", "fetch the file again"

CASES = [
    tokens("empty", lambda data: b"", "not a token file", NOT_ONE, PREPARE),
    tokens("of 7 bytes", lambda data: data[:7], "not a token file", NOT_ONE, PREPARE),
    tokens("cut in its start", lambda data: data[:40], "it is truncated", "a whole token file"),
    tokens("cut in its header", lambda data: data[:100], "it is truncated", "a whole token file"),
    tokens("cut in its tokens", lambda data: data[:-500], "it is truncated", "bytes"),
    tokens("one byte short", lambda data: data[:-1], "it is truncated", "bytes"),
    tokens("with a byte more", lambda data: data + b"\0", "something was added", "bytes"),
    tokens("another magic", lambda data: b"CLLMTOK2" + data[8:], "not a token file", NOT_ONE, PREPARE),
    tokens("a flipped bit in the length of the header", flipped(8), "its header was altered", ALTERED),
    tokens("a flipped bit in the header", flipped(70), "its header was altered", ALTERED),
    tokens("a flipped bit in the header's digest", flipped(20), "its header was altered", ALTERED),
    tokens("a flipped bit in the starts", flipped(360), "content does not have the digest at its end", "an unaltered"),
    tokens("a flipped bit in the tokens", flipped(-100), "content does not have the digest at its end", "an unaltered"),
    tokens("a flipped bit in the digest", flipped(-1), "content does not have the digest at its end", "an unaltered"),
    tokens(
        "a header of 2^63 bytes", lambda data: data[:8] + (1 << 63).to_bytes(8, "little") + data[16:],
        "it is truncated", "a whole token file",
    ),
    header("version 2", {"version": 2}, "format version 2", "version 1", "use the cllm that wrote it"),
    header("objects", {"dtype": "O"}, "dtype 'O'", "the one for 300 tokens"),
    header("a wider dtype", {"dtype": "u4"}, "dtype 'u4'", "the one for 300 tokens"),
    header("no tokens", {"n_tokens": 0}, COUNTS, EACH),
    header("fewer than none", {"n_tokens": -5}, COUNTS, EACH),
    header("10^18 tokens", {"n_tokens": 10**18}, "it is truncated", "2,000,000,000,000,"),
    header("10^30 tokens", {"n_tokens": 10**30}, "it is truncated", "2,000,000,000,000,000,000,000,"),
    header("text for a count", {"n_tokens": "many"}, "header: Expected `int`", "version 1", "use the cllm that wrote"),
    tokens("a key in its header that is no UTF-8", lambda data: forged(data, **{"~": 0}, raw=(b"~", b"\xac")),
           "header: ",
           "a version 1 header", "use the cllm that wrote it"),
    header("no documents", {"n_documents": 0}, COUNTS, EACH),
    header("more documents than tokens", {"n_documents": 1001}, COUNTS, EACH),
    header("no vocabulary", {"vocab_size": 0}, COUNTS, EACH),
    header("a vocabulary of 2^40", {"vocab_size": 1 << 40}, COUNTS, EACH),
    header("something that nobody knows", {"more": 1}, "header: Object contains unknown", "a version 1 header", "cllm"),
    tokens("starts that do not begin with 0", lambda data: data, "out of order", RISE, starts=[1, 2]),
    tokens("starts that fall", lambda data: data, "out of order", RISE, starts=[0, 7, 6]),
    tokens("an empty document", lambda data: data, "out of order", RISE, starts=[0, 5, 5]),
    tokens("a start behind the end", lambda data: data, "out of order", RISE, starts=[0, 1000]),
    tokens("a negative start", lambda data: data, "out of order", RISE, starts=[0, -1]),
    tokens("a picture", lambda data: b"\x89PNG\r\n" + bytes(99), "not a token file", NOT_ONE, PREPARE),
    tokens("a pickle", lambda data: b"\x80\x04\x95" + bytes(99), "not a token file", NOT_ONE, PREPARE),
    tokens("a NumPy file", lambda data: b"\x93NUMPY\x01\0" + bytes(99), "not a token file", NOT_ONE, PREPARE),
    Case("tokens: 10^11 documents in a sparse file", sparse_documents, TokenFileError, "token file", "out of order",
         RISE, "run `cllm prepare` again"),
    Case("tokens: 10^10 answers in a sparse file", sparse_answers, TokenFileError, "token file", "answers out of order",
         "spans of tokens that rise and do not overlap", "run `cllm prepare` again"),
    header("more answers than tokens", {"n_answers": 1001}, COUNTS, EACH),
    header("fewer answers than none", {"n_answers": -1}, COUNTS, EACH),
    header("answers that are not there", {"n_answers": 100}, "it is truncated", "bytes"),
    Case("tokens: fewer than a window", too_short, DataError, "data",
         (".tokens: 2 tokens for windows of block_size = 16",),
         "at least 17 tokens in each part", "take more text or a smaller block_size"),
    Case("tokens: beyond the model's vocabulary", beyond_the_model, ConfigError, "config", "vocab_size = 299",
         "at least the data's 300", "leave it out, or enlarge it"),
    Case("tokens: a vocabulary that no memory holds", huge_vocabulary, MemoryLimitError, "memory", "GB", "80 %",
         "smaller"),
    Case("tokens: the tokenizer is gone", tokenizer_is_gone, TokenizerError, "tokenizer",
         ("tokenizer.json", "No such file"), "a path that is there", "check the path"),
    nanogpt("empty", b"", "0 bytes", TWO, FETCH),
    nanogpt("an odd number of bytes", bytes(101), "101 bytes", TWO, FETCH),
    nanogpt("llm.c's", struct.pack("<2i", 20240520, 1) + bytes(2000), "not a token file", NOT_ONE, PREPARE),
    nanogpt("a token beyond the vocabulary", np.full(500, 64, "<u2").tobytes(), "token 64 with a vocabulary of 64",
            "ids below the vocabulary size", "give its vocab_size", "model.vocab_size=64"),
    nanogpt("fewer tokens than a window", bytes(20), "tokens for windows of block_size = 16",
            "at least 17 tokens in each part", "take more text", error=DataError, who="data"),
    Case("nanoGPT: without a validation part", lone_train_bin, DataError, "data", "data has train.bin alone",
         "train.bin and val.bin", "train.bin itself"),
    Case("nanoGPT: an empty validation part", validation_is_empty, TokenFileError, "token file", "val.bin: 0 bytes",
         TWO, FETCH),
    Case("nanoGPT: a pickle beside it", pickled_beside, TokenFileError, "token file", "val.bin: 0 bytes", TWO, FETCH),
]
