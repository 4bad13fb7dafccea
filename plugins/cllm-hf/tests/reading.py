"""What a source is read as, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cllm.hooks import Document

from cllm_hf.dataset import made
from cllm_hf.options import DatasetConfig


def documents(source: object, **options: Any) -> list[Document]:
    return list(made(DatasetConfig(source=source if isinstance(source, list) else str(source), **options)).documents())


def read(source: object, **options: Any) -> list[str]:
    """The texts, with nothing behind them."""
    return [document.text for document in documents(source, **{"end": "", **options})]


def answers(found: Iterable[Document]) -> list[str]:
    return [document.text[first:end] for document in found for first, end in document.answers]
