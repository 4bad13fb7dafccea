"""The tokenizer of a preparation: given, or learned from the text, which is then read twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cllm.atomic import write_file
from cllm.data.intake import Watch
from cllm.data.journal import TextDigest, Work
from cllm.data.spoolfile import Changed
from cllm.errors import DataError, TokenizerError
from cllm.hooks.protocols import Dataset, Document, Tokenizer

LEARNED_FILE = "learned.json"  # of the hidden folder: a tokenizer in its own form


def learn(
    given: Tokenizer | type[Tokenizer], datasets: Sequence[Dataset], options: msgspec.Struct | None,
    watch: Watch | None, folder: Path, work: Work | None,
) -> tuple[Tokenizer, TextDigest | None]:
    """The tokenizer, and where the text is digested again of which one that goes on was made; None: it learned nothing.

    What was learned before a kill is kept.
    """
    if work is None or not isinstance(given, type) or not hasattr(given, "from_texts"):
        return tokenizer_for(given, _Chain(datasets), options), None
    if work.entry is not None:
        return _learned(folder / LEARNED_FILE, given), TextDigest()
    read = _Chain(datasets, TextDigest(), watch)
    tokenizer = tokenizer_for(given, read, options)
    write_file(folder / LEARNED_FILE, json.dumps(tokenizer.to_json()).encode())
    work.keep(learned=read.text.hexdigest() if read.text else "")
    return tokenizer, TextDigest()


def _learned(path: Path, kind: type[Tokenizer]) -> Tokenizer:
    try:
        return kind.from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TokenizerError):
        raise Changed(f"{path} is not as it was left") from None


class _Chain:
    """Datasets one after the other, as one from which a tokenizer learns."""

    def __init__(self, datasets: Sequence[Dataset], text: TextDigest | None = None, watch: Watch | None = None) -> None:
        self._datasets = datasets
        self.text = text
        self._watch = watch

    def files(self) -> list[Path]:
        having = [dataset for dataset in self._datasets if hasattr(dataset, "files")]
        return [path for dataset in having for path in dataset.files()]

    def documents(self) -> Iterator[Document]:
        for dataset in self._datasets:
            for document in dataset.documents():
                if self.text is not None:
                    self.text.add(document, False)
                if self._watch is not None:
                    self._watch(document, 0)
                yield document


def tokenizer_for(
    tokenizer: Tokenizer | type[Tokenizer], dataset: Dataset, options: msgspec.Struct | None = None
) -> Tokenizer:
    """The tokenizer itself, or one of the class, which learns from the dataset if it has `from_texts`."""
    if not isinstance(tokenizer, type):
        return tokenizer
    how = () if options is None else (options,)
    learn: Any = getattr(tokenizer, "from_texts", None)
    if learn:
        refuse_streams(dataset, "prepare", f"for {tokenizer.name} learns from the text before it is written with it")
    made: Tokenizer = learn((one.text for one in dataset.documents()), *how) if learn else tokenizer(*how)
    return made


def refuse_streams(dataset: Dataset, who: str, why: str) -> None:
    """DataError where a file of the dataset is a pipe or a device, of which a second reading would wait for ever."""
    files: Callable[[], list[Path]] | None = getattr(dataset, "files", None)
    for path in files() if files else ():
        if path.exists() and not (path.is_file() or path.is_dir()):
            came, expected = f"{path} is a pipe or a device, {why}", "files, which can be read twice"
            raise DataError(who, came, expected, "write it to a file, or take the tokenizer byte with `cllm prepare`")
