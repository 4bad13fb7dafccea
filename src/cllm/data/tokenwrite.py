"""Writes token files, in bounded memory and atomically. The layout is described in tokenfile.py."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm.atomic import disk_errors, rename, temporary_beside, write_verified
from cllm.data.tokenfile import DIGEST_BYTES, MAGIC, VERSION, Header, aligned, header_digest, token_dtype
from cllm.errors import TokenFileError


def make_header(
    n_tokens: int,
    n_documents: int,
    vocab_size: int,
    tokenizer: str = "",
    tokenizer_digest: str = "",
    source_digest: str = "",
) -> Header:
    """The header of a file with these counts, in the smallest dtype that holds the vocabulary."""
    dtype = token_dtype(vocab_size).str.lstrip("<|")
    return Header(VERSION, dtype, n_tokens, n_documents, vocab_size, tokenizer, tokenizer_digest, source_digest)


def write_tokens(
    path: str | Path,
    tokens: NDArray[Any] | Sequence[int],
    vocab_size: int,
    document_starts: Sequence[int] = (0,),
    answers: Sequence[tuple[int, int]] = (),
) -> None:
    """Write tokens (n_tokens,), 0 <= token < vocab_size, as a token file of an unknown tokenizer.

    answers: spans (first, end) of tokens.
    """
    array = np.asarray(tokens)
    if array.size == 0 or int(array.min()) < 0 or int(array.max()) >= vocab_size:
        raise ValueError(f"tokens are one or more integers in 0 <= token < {vocab_size}")
    header = make_header(len(array), len(document_starts), vocab_size)
    header = msgspec.structs.replace(header, n_answers=len(answers))
    spans = np.array(answers, np.int64).reshape(-1, 2)
    write_token_file(Path(path), header, [np.asarray(document_starts)], [array], [spans])


def write_token_file(
    path: Path, header: Header, document_starts: Iterable[NDArray[Any]], tokens: Iterable[NDArray[Any]],
    answers: Iterable[NDArray[Any]] = (),
) -> None:
    """Write a token file from chunks of any size, which together are as long as the header says.

    It is read back before it replaces what had its name. Raises TokenFileError where it cannot be
    written; then, as after any other error, nothing stays behind.
    """
    temporary = temporary_beside(path)
    try:
        with disk_errors(TokenFileError, "token file", path):
            write_verified(temporary, _with_digest(_sections(header, document_starts, tokens, answers)))
            rename(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sections(
    header: Header, starts: Iterable[NDArray[Any]], tokens: Iterable[NDArray[Any]], answers: Iterable[NDArray[Any]]
) -> Iterator[bytes | memoryview]:
    text = msgspec.json.encode(header)
    begin = MAGIC + len(text).to_bytes(8, "little")
    yield from _padded([begin + header_digest(begin, text)])
    yield from _padded([text])
    yield from _padded(_arrays(starts, "<i8", header.n_documents))
    yield from _padded(_arrays(answers, "<i8", header.n_answers))
    yield from _padded(_arrays(tokens, header.dtype, header.n_tokens))


def _arrays(arrays: Iterable[NDArray[Any]], dtype: str, n_expected: int) -> Iterator[memoryview]:
    n = 0
    for array in arrays:
        n += len(array)
        yield np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<")).reshape(-1).view(np.uint8).data
    if n != n_expected:
        raise ValueError(f"the header says {n_expected} elements, and {n} came")


def _padded(parts: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The parts, and zeros up to the next multiple of the alignment."""
    n = 0
    for part in parts:
        n += len(part)
        yield part
    yield bytes(aligned(n) - n)


def _with_digest(parts: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(part)
        yield part
    yield digest.digest()
