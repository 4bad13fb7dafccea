"""Token files: token ids and document boundaries on disk, memory-mapped.

Layout, little endian; sections begin at multiples of 64 bytes and the gaps are zero:

    0    magic b"CLLMTOK1"
    8    uint64   n, the bytes of the header
    16   32 bytes BLAKE2b-256 of the 16 bytes before it and the header
    64   header   JSON, n bytes: see Header
    ...  int64    (n_documents,) where each document starts, in tokens; the first is 0
    ...  int64    (n_answers, 2) first token and end of each answer; absent where the header has no n_answers
    ...  tokens   (n_tokens,) uint8, uint16 or uint32: the smallest that holds the vocabulary
    ...  32 bytes BLAKE2b-256 of everything before it

Opening checks the header's digest, all sizes, the document starts and the answers, and of a file of up to
VERIFIED_AT_OPENING bytes the digest at its end; a larger one is read whole when a run begins or goes on.
nanoGPT's files (uint16, no header, named *.bin) open as well.
"""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from cllm.errors import TokenFileError

MAGIC = b"CLLMTOK1"
VERSION = 1
ALIGNMENT = 64
DIGEST_BYTES = 32
MAX_HEADER_BYTES = 1 << 20
MAX_VOCABULARY = 1 << 31  # batches hold int32
VERIFIED_AT_OPENING = 64 << 20  # bytes; a tenth of a second, once they are in memory

_LLMC_MAGICS = (20240520, 20240801)  # llm.c's .bin files have a header that would be read as tokens
_CHUNK_BYTES = 1 << 22
_CHUNK_STARTS = 1 << 20

Tokens = NDArray[np.unsignedinteger[Any]]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a token file says of itself. Digests are hexadecimal BLAKE2b-256, or "" where nothing is
    known.
    """

    version: int  # 0: there is no header, it is nanoGPT's
    dtype: str
    n_tokens: int
    n_documents: int
    vocab_size: int
    tokenizer: str
    tokenizer_digest: str
    source_digest: str
    n_answers: int = 0


@dataclass(frozen=True, eq=False)
class TokenFile:
    """An open token file.

    tokens: (n_tokens,) uint8, uint16 or uint32, read-only; document_starts: (n_documents,) int64, in
    tokens; answers: (n_answers, 2) int64, first token and end of spans that rise and do not overlap.
    """

    path: Path
    header: Header
    tokens: Tokens = field(repr=False)
    document_starts: NDArray[np.int64] = field(repr=False)
    answers: NDArray[np.int64] = field(repr=False, default_factory=lambda: np.empty((0, 2), np.int64))

    @classmethod
    def open(cls, path: str | Path, vocab_size: int | None = None) -> TokenFile:
        """Map a token file, or nanoGPT's .bin with `vocab_size` or else its largest id + 1.

        Raises TokenFileError for a file that is missing, truncated, altered or of another kind.
        """
        path = Path(path)
        try:
            with path.open("rb") as stream:
                start = stream.read(ALIGNMENT)
                if start.startswith(MAGIC):
                    return _open_native(path, stream, start)
        except OSError as error:
            raise _unreadable(path, error) from None
        return _open_nanogpt(path, start, vocab_size)

    @property
    def n_tokens(self) -> int:
        return self.header.n_tokens

    @property
    def n_documents(self) -> int:
        return self.header.n_documents

    @property
    def n_answers(self) -> int:
        return self.header.n_answers

    def is_answer(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these tokens, by their places, are answers; of the shape of `places`."""
        # Firsts and ends in turn never fall: behind an odd number of them one is inside a span.
        inside: NDArray[np.bool_] = np.searchsorted(self.answers.reshape(-1), places, side="right") % 2 == 1
        return inside

    @property
    def vocab_size(self) -> int:
        return self.header.vocab_size

    @property
    def tokenizer_name(self) -> str:
        return self.header.tokenizer

    @property
    def tokenizer_digest(self) -> str:
        return self.header.tokenizer_digest

    @property
    def source_digest(self) -> str:
        return self.header.source_digest

    @property
    def parts(self) -> tuple[TokenFile, ...]:
        """The files of this source of tokens: itself. (A Mixture has several.)"""
        return (self,)

    def section(self, first: int, end: int) -> TokenFile:
        """The tokens first <= i < end as a file of their own; it is mapped, not copied."""
        begin = int(np.searchsorted(self.document_starts, first, side="right")) - 1
        starts = self.document_starts[begin : int(np.searchsorted(self.document_starts, end))]
        bounds = self.answers.reshape(-1)
        answers = self.answers[
            int(np.searchsorted(bounds, first, side="right")) // 2 : (int(np.searchsorted(bounds, end)) + 1) // 2
        ]
        header = msgspec.structs.replace(
            self.header, n_tokens=end - first, n_documents=len(starts), n_answers=len(answers)
        )
        return TokenFile(
            self.path, header, self.tokens[first:end], np.maximum(starts - first, 0),
            np.clip(answers, first, end) - first,
        )

    @property
    def was_verified(self) -> bool:
        """Whether the whole file was read when it was opened."""
        return _is_verified_at_opening(self.path.stat().st_size)

    @property
    def has_digest(self) -> bool:
        """Whether an alteration would be noticed; not in nanoGPT's files."""
        return self.header.version > 0

    def check_digest(self) -> None:
        """Read the whole file, also of a section. Raises TokenFileError if it was altered."""
        if self.has_digest:
            _check_digest(self.path)

    def verify(self) -> None:
        """Read the whole file: its digest (a nanoGPT file has none) and the range of its tokens.

        Raises TokenFileError if it was altered.
        """
        self.check_digest()
        for start in range(0, self.n_tokens, _CHUNK_BYTES):
            check_range(self, self.tokens[start : start + _CHUNK_BYTES])


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest of uint8, uint16 and uint32 that holds ids below `vocab_size`."""
    for name, limit in (("<u1", 1 << 8), ("<u2", 1 << 16), ("<u4", MAX_VOCABULARY)):
        if vocab_size <= limit:
            return np.dtype(name)
    raise ValueError(f"a vocabulary has at most 2^31 tokens, not {vocab_size}")


def check_range(file: TokenFile, tokens: NDArray[Any]) -> None:
    """Raise TokenFileError if a token lies outside the vocabulary."""
    if tokens.size and int(tokens.max()) >= file.vocab_size:
        came = f"token {int(tokens.max())} with a vocabulary of {file.vocab_size}"
        raise _refuse(
            file.path, came, "ids below the vocabulary size", "prepare the file again, or give its vocab_size"
        )


def header_digest(start: bytes, header: bytes) -> bytes:
    """The 32 bytes at byte 16, of the 16 bytes before it and the header."""
    return hashlib.blake2b(start[:16] + header, digest_size=DIGEST_BYTES).digest()


def aligned(offset: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


_AGAIN = "run `cllm prepare` again"


def _is_verified_at_opening(n_bytes: int) -> bool:
    return n_bytes <= VERIFIED_AT_OPENING


def _open_native(path: Path, stream: BinaryIO, start: bytes) -> TokenFile:
    size = stream.seek(0, 2)
    header = _read_header(path, stream, start, size)
    starts_at = aligned(ALIGNMENT + int.from_bytes(start[8:16], "little"))
    answers_at = aligned(starts_at + 8 * header.n_documents)
    tokens_at = aligned(answers_at + 16 * header.n_answers)
    expected = aligned(tokens_at + np.dtype(header.dtype).itemsize * header.n_tokens) + DIGEST_BYTES
    if size != expected:
        came = f"{size:,} bytes" + (": it is truncated" if size < expected else ": something was added")
        raise _refuse(path, came, f"{expected:,} bytes", _AGAIN)
    document_starts = _map(path, "<i8", starts_at, header.n_documents)
    _check_starts(path, document_starts, header.n_tokens)
    answers = _map(path, "<i8", answers_at, 2 * header.n_answers).reshape(-1, 2)
    _check_answers(path, answers, header.n_tokens)
    if _is_verified_at_opening(size):
        _check_digest(path)
    return TokenFile(path, header, _map(path, header.dtype, tokens_at, header.n_tokens), document_starts, answers)


def _read_header(path: Path, stream: BinaryIO, start: bytes, size: int) -> Header:
    n_bytes = int.from_bytes(start[8:16], "little")
    if len(start) < ALIGNMENT or size < ALIGNMENT + min(n_bytes, MAX_HEADER_BYTES):
        raise _refuse(path, f"{size:,} bytes: it is truncated", "a whole token file", _AGAIN)
    stream.seek(ALIGNMENT)
    text = stream.read(min(n_bytes, MAX_HEADER_BYTES))
    if header_digest(start, text) != start[16:48]:
        raise _refuse(path, "its header was altered", "the header as it was written", _AGAIN)
    try:
        header = msgspec.json.decode(text, type=Header)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: a key that is no UTF-8
        raise _refuse(path, f"header: {error}", f"a version {VERSION} header", "use the cllm that wrote it") from None
    _check_header(path, header)
    return header


def _check_header(path: Path, header: Header) -> None:
    if header.version != VERSION:
        raise _refuse(path, f"format version {header.version}", f"version {VERSION}", "use the cllm that wrote it")
    counts_fit = 1 <= header.n_documents <= header.n_tokens and 0 <= header.n_answers <= header.n_tokens
    if not counts_fit or not 1 <= header.vocab_size <= MAX_VOCABULARY:
        raise _refuse(path, f"impossible counts {header}", "at least one token in each document", _AGAIN)
    if header.dtype != token_dtype(header.vocab_size).str.lstrip("<|"):
        raise _refuse(path, f"dtype {header.dtype!r}", f"the one for {header.vocab_size} tokens", _AGAIN)


def _check_starts(path: Path, starts: NDArray[np.int64], n_tokens: int) -> None:
    # Piece by piece: a header and a size that fit each other may stand before 10^11 starts that take no disk.
    pieces = (starts[first : first + _CHUNK_STARTS + 1] for first in range(0, len(starts), _CHUNK_STARTS))
    rising = (bool((piece[1:] > piece[:-1]).all()) for piece in pieces)
    if not (int(starts[0]) == 0 and int(starts[-1]) < n_tokens and all(rising)):
        raise _refuse(path, "document starts out of order", "starts that begin with 0 and rise", _AGAIN)


def _check_answers(path: Path, answers: NDArray[np.int64], n_tokens: int) -> None:
    end = 0
    for first in range(0, len(answers), _CHUNK_STARTS):
        piece = answers[first : first + _CHUNK_STARTS]
        begins, ends = piece[:, 0], piece[:, 1]
        if not (int(begins[0]) >= end and (begins < ends).all() and (ends[:-1] <= begins[1:]).all()):
            raise _refuse(path, "answers out of order", "spans of tokens that rise and do not overlap", _AGAIN)
        end = int(ends[-1])
    if end > n_tokens:
        raise _refuse(path, f"an answer that ends with token {end:,}", f"at most the {n_tokens:,} there are", _AGAIN)


def _check_digest(path: Path) -> None:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    left = path.stat().st_size - DIGEST_BYTES
    with path.open("rb") as stream:
        while chunk := stream.read(min(left, _CHUNK_BYTES)):
            digest.update(chunk)
            left -= len(chunk)
        if digest.digest() != stream.read(DIGEST_BYTES):
            raise _refuse(path, "its content does not have the digest at its end", "an unaltered file", _AGAIN)


def _open_nanogpt(path: Path, start: bytes, vocab_size: int | None) -> TokenFile:
    size = path.stat().st_size
    if path.suffix != ".bin" or int.from_bytes(start[:4], "little") in _LLMC_MAGICS:
        raise _refuse(path, "not a token file", "a file of `cllm prepare`, or nanoGPT's .bin", "prepare the text first")
    if size == 0 or size % 2:
        raise _refuse(path, f"{size:,} bytes", "uint16 tokens, two bytes each, at least one", "fetch the file again")
    tokens = _map(path, "<u2", 0, size // 2)
    if vocab_size is None:
        vocab_size = max(int(tokens[i : i + _CHUNK_BYTES].max()) for i in range(0, size // 2, _CHUNK_BYTES)) + 1
    header = Header(0, "u2", size // 2, 1, vocab_size, tokenizer="", tokenizer_digest="", source_digest="")
    return TokenFile(path, header, tokens, np.zeros(1, np.int64))


def _map(path: Path, dtype: str, offset: int, n: int) -> NDArray[Any]:
    if not n:
        return np.empty(0, dtype)  # no mapping is empty
    mapped = np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r", offset=offset, shape=(n,))
    return mapped.view(np.ndarray)  # the memmap class makes each slice ten times as slow, the mapping is the same


def _unreadable(path: Path, error: OSError) -> TokenFileError:
    came = error.strerror or str(error)
    if error.errno == errno.ENOMEM:
        return _refuse(path, came, "address space for all of it, for it is mapped", "raise the limit (ulimit -v)")
    return _refuse(path, came, "a file that can be read", "check the path")


def _refuse(path: Path, came: str, expected: str, todo: str) -> TokenFileError:
    return TokenFileError(who="token file", came=f"{path}: {came}", expected=expected, todo=todo)
