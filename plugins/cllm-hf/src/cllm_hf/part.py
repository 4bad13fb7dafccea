"""An open dataset, or one split of it, whatever it was opened from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cllm.errors import DataError, did_you_mean

from cllm_hf.library import WHO


@dataclass(frozen=True)
class Part:
    """A dataset without splits, or a split of one, and what it is called in messages."""

    title: str
    rows: Any  # datasets.Dataset or datasets.IterableDataset
    files: tuple[Path, ...] = ()  # that decide its text, where that is known
    online: bool = False  # whether its rows may come through the network


def chosen_split(title: str, wanted: str | None, there: list[str]) -> str:
    """The split that is wanted, or else train, or the only one. Raises DataError where it is none of those there."""
    if wanted is None and len(there) == 1:
        return there[0]
    split = wanted or "train"
    if there and split not in there:
        todo = did_you_mean(split, there, "set split to one of these")
        raise DataError(WHO, f"{title}: no split {split!r}", f"one of {', '.join(there)}", todo)
    return split


def streamed(title: str, rows: Any, files: tuple[Path, ...] = (), online: bool = False) -> Part:
    """A dataset that is read as it comes, in bounded memory.

    Of Parquet each row group is made a shard: the reader of a shard runs ahead of who takes the rows, to its end.
    """
    return Part(title, rows.reshard(), files, online)


def mapped(title: str, rows: Any) -> Part:
    """A dataset in arrow files. The names of class labels, which may stand in texts, are in dataset_info.json."""
    data = [Path(file["filename"]) for file in rows.cache_files]
    return Part(title, rows, tuple(_with_info(data)))


def _with_info(data: Iterable[Path]) -> Iterator[Path]:
    folders = set()
    for path in data:
        yield path
        info = path.with_name("dataset_info.json")
        if path.parent not in folders and info.exists():
            folders.add(path.parent)
            yield info
