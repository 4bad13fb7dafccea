"""What the tests of data share: real data where it is there, datasets in memory, the built-in kinds."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cllm.builtin.pydoc import PydocDataset
from cllm.builtin.squad import SquadConfig, SquadDataset
from cllm.builtin.text import TextConfig, TextDataset
from cllm.data.bpe import BpeConfig
from cllm.data.kinds import Kinds
from cllm.data.tokenizerfile import builtin
from cllm.hooks.protocols import Dataset, Document

# Scripts, joined and combining characters, emoji, controls, marks of direction, line ends, names of special tokens.
MANY_SCRIPTS = (
    "The end.\r\n\tNaïve façade, cafe\u0301; Ελληνικά Кириллица עברית العربية हिन्दी ไทย 日本語 한국어 漢字 "
    "👍🏽 👩‍👩‍👧‍👦 🇪🇺 \U0001f600 \x00\x01\x1b[0m\x7f\x85\u200b\u200d\u202e\ufeff\ufffd\U0010ffff \u2028 "
    "<|endoftext|> [UNK] <unk> </s> ## Ġ Ċ  two  blanks , a dot . it 's\n\n"
)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared(name: str) -> Path:
    """A file of real data; the test is skipped where it is absent, as in a user's clone, unless CI says it is there."""
    path = SHARED / name
    if not path.exists():
        give_up = pytest.fail if os.environ.get("CLLM_EXPECT_SHARED") == "1" else pytest.skip
        give_up(f"{path} is not there")
    return path


def huggingface_tokenizers() -> Any:
    """Hugging Face's library; the test is skipped where it is not installed, unless tox says that it is."""
    if os.environ.get("CLLM_EXPECT_TOKENIZERS") == "1":
        return importlib.import_module("tokenizers")
    return pytest.importorskip("tokenizers", reason="tox -e tokenizers has it")


@dataclass(frozen=True)
class Texts:
    """A dataset of documents in memory; a tuple is a document in pieces."""

    texts: Sequence[str | tuple[str, ...]]

    def documents(self) -> Iterator[Document]:
        for number, text in enumerate(self.texts):
            offset = 0
            for place, piece in enumerate((text,) if isinstance(text, str) else text):
                yield Document(piece, f"text {number}", offset, continues=place > 0)
                offset += len(piece)


def make_dataset(loader: str, options: Mapping[str, Any]) -> Dataset:
    if loader == "pydoc":
        return PydocDataset()
    if loader == "squad":
        return SquadDataset(SquadConfig(**options))
    return TextDataset(TextConfig(**options))


KINDS = Kinds(make_dataset, builtin, lambda name, given: BpeConfig(**given) if name == "bpe" else None)


def whole_texts(dataset: Dataset) -> list[str]:
    """The documents' texts, pieces joined."""
    texts: list[str] = []
    for document in dataset.documents():
        if document.continues:
            assert document.offset == len(texts[-1])
            texts[-1] += document.text
        else:
            assert document.offset == 0
            texts.append(document.text)
    return texts
