"""Opens datasets of the Hub by their names: what the cache has, or what is fetched where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import datasets
from cllm.errors import DataError

from cllm_hf.library import WHO, network, told
from cllm_hf.options import KINDS, DatasetConfig, is_hub_name
from cllm_hf.part import Part, chosen_split, mapped, streamed

# Others of the library's readers unpickle, decode pictures or import further packages.
READERS = {f"datasets.packaged_modules.{kind}.{kind}" for kind in (*KINDS, "cache")}


def of_hub(source: str, config: DatasetConfig) -> Part:
    """The dataset of this name, or the split behind # of it. Raises DataError."""
    name, _, own_split = source.partition("#")
    _check_name(source, name)
    todo = "check name and network" if config.online else "check the name, or set online = true to fetch it"
    with network(config.online), told(source, "a dataset that is there", todo), _told_offline(name, config, todo):
        made = datasets.load_dataset_builder(name, config.name, revision=config.revision if config.online else None)
        _check_builder(name, made, config)
        split = chosen_split(name, own_split or config.split, list(made.info.splits or ()))
        title = f"{name}: {split}"
        if config.streaming:
            return streamed(title, made.as_streaming_dataset(split=split), online=config.online)
        made.download_and_prepare()
        return mapped(title, made.as_dataset(split=split, in_memory=False))


def _check_name(source: str, name: str) -> None:
    """Nothing that the library would take for something else than a dataset of the Hub."""
    if not is_hub_name(name):
        expected = "a folder of save_to_disk, or a name on the Hub, as owner/name"
        raise DataError(WHO, f"{source}, which is not there", expected, "check the path")
    if Path(name).exists():  # it would take the folder, and obey the addresses in its README
        came = f"{source}, and {name} is on this disk"
        todo = f"name a folder of save_to_disk, as in {name}/train"
        raise DataError(WHO, came, "a name that is on the Hub alone", todo)
    if name.isidentifier() and find_spec(f"datasets.packaged_modules.{name}"):  # it would take all files around here
        todo = "set source to the files, and builder to their kind"
        raise DataError(WHO, f"{name}, a kind of files", "a dataset's name", todo)


@contextmanager
def _told_offline(name: str, config: DatasetConfig, todo: str) -> Iterator[None]:
    try:
        yield
    except ConnectionError:
        if config.online:
            raise
        came = f"no dataset {name} in the cache, {datasets.config.HF_DATASETS_CACHE}"
        raise DataError(WHO, came, "one that was fetched before", todo) from None


def _check_builder(name: str, made: Any, config: DatasetConfig) -> None:
    """No reader that runs what it reads, and no other revision than the one that was asked for."""
    if type(made).__module__ not in READERS:
        came = f"{name}, made of files of another kind ({type(made).__name__})"
        raise DataError(WHO, came, f"files of {', '.join(KINDS)}", "choose another dataset, or convert it")
    if config.revision is not None and not config.online and made.hash != config.revision:
        came = f"{name} at the commit {made.hash}, which the cache has, for revision = {config.revision!r}"
        raise DataError(WHO, came, "the same commit", "leave revision out, or set online = true to fetch it")
