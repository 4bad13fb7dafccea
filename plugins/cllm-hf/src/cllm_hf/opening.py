"""From what `source` names to open datasets: local files, folders of save_to_disk, and names, which are named.py's."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

import datasets
from cllm.data import Sources
from cllm.errors import DataError

from cllm_hf.library import WHO, network, told
from cllm_hf.named import of_hub
from cllm_hf.options import KINDS, DatasetConfig
from cllm_hf.part import Part, chosen_split, mapped, streamed


def parts_of(config: DatasetConfig) -> Iterator[Part]:
    """What the sources name, in order, each opened when it is its turn. Raises DataError."""
    if config.builder is not None:
        for path in local_files(config):
            yield _of_file(path, config.builder)
        return
    for source in [config.source] if isinstance(config.source, str) else config.source:
        folder = Path(source).expanduser()
        yield _of_folder(folder, config) if folder.exists() else of_hub(source, config)


def local_files(config: DatasetConfig) -> list[Path]:
    """The files that a builder is to read, in order. Raises DataError where a source names none, or no plain file."""
    files = Sources(config.source, WHO, KINDS[config.builder or "text"]).files()
    for path in files:
        if not path.is_file():
            came = f"{path}, which is {'no plain file' if path.exists() else 'not there'}"
            raise DataError(WHO, came, "files that can be read several times", "check the path")
    return files


def _of_file(path: Path, builder: str) -> Part:
    """Read in passing: the library's cache would keep a copy, and take an altered file of the same age for the old."""
    todo = "check the file, or name its kind by builder"
    with network(False), told(str(path), f"a file that the library reads as {builder}", todo):
        if builder == "arrow":  # mapped, which takes no memory, however much the file says that it holds
            return mapped(str(path), datasets.Dataset.from_file(str(path)))
        # Its paths are patterns, and "::" stands between places within each other.
        pattern = glob.escape(str(path.absolute()))
        how = {"sep": "\t"} if path.suffix.lower() == ".tsv" else {}
        made = datasets.load_dataset_builder(builder, data_files=[pattern], **how)
        if list(made.config.data_files["train"]) != [str(path.resolve())]:
            raise DataError(WHO, f"{path}, whose name the library reads as a pattern", "a plain name", "rename it")
        return streamed(str(path), made.as_streaming_dataset(split="train"), (path,))


def _of_folder(folder: Path, config: DatasetConfig) -> Part:
    if unfit := config.of_the_hub():
        came = f"{unfit[0]} for {folder}, which is on this disk"
        raise DataError(WHO, came, "a name on the Hub", f"leave {unfit[0]} out")
    todo = "name such a folder, or set builder to the kind of the files"
    with network(False), told(str(folder), "a folder that save_to_disk has written", todo):
        saved = datasets.load_from_disk(str(folder.absolute()), keep_in_memory=False)
    if isinstance(saved, datasets.DatasetDict):
        split = chosen_split(str(folder), config.split, list(saved))
        return mapped(f"{folder}: {split}", saved[split])
    if config.split is not None:
        came = f"split = {config.split!r} for {folder}, a single dataset"
        raise DataError(WHO, came, "a folder with several", "leave split out")
    return mapped(str(folder), saved)
