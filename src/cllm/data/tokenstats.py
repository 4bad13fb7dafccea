"""What is in a token file: how many documents of which lengths, which tokens come most often, how the text looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cllm.bounded import check_memory
from cllm.data.manifest import read_manifest
from cllm.data.preparedpart import TRAIN_FILE, VALIDATION_FILE
from cllm.data.tokenfile import TokenFile, check_range
from cllm.data.tokenizerfile import FILE_NAME, builtin, load_tokenizer
from cllm.errors import DataError, TokenizerError
from cllm.hooks.protocols import Tokenizer

_CHUNK = 1 << 22
_COUNT_BYTES = 32  # of one id: its sum, its count in a chunk, and what sorting takes


@dataclass(frozen=True)
class Frequent:
    """A token, how often it comes, and the text that it stands for; None where no tokenizer is known."""

    token: int
    count: int
    text: str | None


@dataclass(frozen=True)
class Sample:
    """The beginning of a document, by its number from 0 on: its ids, and their text where a tokenizer is known."""

    document: int
    tokens: list[int]
    text: str | None


@dataclass(frozen=True)
class TokenStats:
    """The content of one token file; lengths are of documents, in tokens."""

    path: Path
    n_documents: int
    n_tokens: int
    vocab_size: int
    n_used: int  # ids that come at all
    tokenizer: str  # empty where nobody knows
    n_answers: int
    n_answer_tokens: int
    shortest: int
    median: int  # of an even number the lower of the two in the middle
    longest: int
    frequent: list[Frequent]
    samples: list[Sample]


def token_files(path: Path) -> list[Path]:
    """The token files of prepared data, training first; or the one that is named. Raises DataError for neither."""
    if not path.is_dir():
        return [path]
    if manifest := read_manifest(path):
        return [file for part in manifest.parts for file in token_files(path / part.folder)]
    for names in ((TRAIN_FILE, VALIDATION_FILE), ("train.bin", "val.bin")):
        if found := [path / name for name in names if (path / name).is_file()]:
            return found
    raise DataError("data", f"{path} has no token files", "what `cllm prepare` wrote", "prepare the text first")


def token_stats(
    path: Path, n_frequent: int, n_samples: int, sample_tokens: int,
    class_of: Callable[[str], type[Tokenizer]] = builtin,
) -> TokenStats:
    """Read a whole token file. Samples are spread evenly over the documents. class_of: as of load_tokenizer.

    Raises TokenFileError for one that is no token file or altered, TokenizerError for a tokenizer.json beside it that
    is none or another, and MemoryLimitError for a vocabulary that cannot be counted.
    """
    file = TokenFile.open(path)
    file.verify()
    tokenizer = _tokenizer_of(file, class_of)
    counts = _counts(file)
    lengths = np.sort(np.diff(file.document_starts, append=file.n_tokens))
    # Of equal counts the smaller id comes first, wherever this runs.
    order = np.argsort(-counts, kind="stable")[:n_frequent].tolist()
    frequent = [Frequent(token, int(counts[token]), _text(tokenizer, [token])) for token in order if counts[token]]
    documents = dict.fromkeys(number * file.n_documents // n_samples for number in range(n_samples))
    return TokenStats(
        path, file.n_documents, file.n_tokens, file.vocab_size, int(np.count_nonzero(counts)), file.tokenizer_name,
        file.n_answers, _n_answer_tokens(file),
        int(lengths[0]), int(lengths[(len(lengths) - 1) // 2]), int(lengths[-1]), frequent,
        [_sample(file, tokenizer, document, sample_tokens) for document in documents],
    )


def _counts(file: TokenFile) -> NDArray[np.int64]:
    """How often each id comes, (vocab_size,)."""
    todo = "use a machine with more memory"
    check_memory({"counts": _COUNT_BYTES * file.vocab_size}, f"a vocabulary of {file.vocab_size:,} tokens", todo)
    counts = np.zeros(file.vocab_size, np.int64)
    for start in range(0, file.n_tokens, _CHUNK):
        tokens = file.tokens[start : start + _CHUNK]
        check_range(file, tokens)
        found = np.bincount(tokens)
        counts[: len(found)] += found
    return counts


def _n_answer_tokens(file: TokenFile) -> int:
    pieces = (file.answers[start : start + _CHUNK] for start in range(0, file.n_answers, _CHUNK))
    return sum(int((piece[:, 1] - piece[:, 0]).sum()) for piece in pieces)


def _sample(file: TokenFile, tokenizer: Tokenizer | None, document: int, most: int) -> Sample:
    starts = file.document_starts
    begin = int(starts[document])
    end = int(starts[document + 1]) if document + 1 < len(starts) else file.n_tokens
    tokens = file.tokens[begin : min(end, begin + most)].tolist()
    return Sample(document, tokens, _text(tokenizer, tokens))


def _text(tokenizer: Tokenizer | None, tokens: list[int]) -> str | None:
    return None if tokenizer is None else tokenizer.decode(tokens)


def _tokenizer_of(file: TokenFile, class_of: Callable[[str], type[Tokenizer]]) -> Tokenizer | None:
    """The tokenizer.json beside a file that names one."""
    path = file.path.with_name(FILE_NAME)
    if not file.tokenizer_digest or not path.exists():
        return None
    tokenizer = load_tokenizer(path, class_of)
    if tokenizer.digest() != file.tokenizer_digest:
        todo = "put the right one there, or remove it"
        raise TokenizerError("data", f"{path} is not the tokenizer of {file.path.name}", "the one that made it", todo)
    return tokenizer
