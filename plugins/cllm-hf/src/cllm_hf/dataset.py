"""The loader: the rows of datasets as documents, a few at a time, the named fields alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cllm.errors import DataError
from cllm.hooks import Document

from cllm_hf.fields import Rows
from cllm_hf.library import WHO
from cllm_hf.opening import local_files, parts_of
from cllm_hf.options import DatasetConfig


class HfDataset:
    """The rows of datasets as documents, in their order. Rows without text are passed over."""

    def __init__(self, config: DatasetConfig) -> None:
        self._config = config
        self._template = config.chosen()

    def documents(self) -> Iterator[Document]:
        """Yield each row's text.

        Raises DataError, with the dataset, and the row where there is one, for what is not there or broken, fields
        that are missing or no text, and nulls; and where there is no text at all.
        """
        found = False
        for part in parts_of(self._config):
            rows = Rows(part, self._template.fields)
            for row in rows:
                if document := self._template.document(partial(rows.text, row), self._config.end, rows.place):
                    found = True
                    yield document
        if not found:
            raise DataError(WHO, f"no text in {self._config.source}", "rows with text", "name another source")


class FiledDataset(HfDataset):
    """The same of data that lie in files, by whose digest it is known again."""

    def files(self) -> list[Path]:
        """The files that decide the text, in order. Raises DataError where there are none."""
        if self._config.builder is not None:
            return local_files(self._config)
        return [path for part in parts_of(self._config) for path in part.files]


def made(config: DatasetConfig) -> HfDataset:
    """The dataset of these options; of one that is streamed nothing is known but its documents."""
    return HfDataset(config) if config.streaming else FiledDataset(config)
