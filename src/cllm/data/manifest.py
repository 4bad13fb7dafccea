"""mixture.json: which folders of prepared data belong together, and with which weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from cllm.atomic import write_file
from cllm.bounded import LARGEST_CONFIG, read_at_most
from cllm.data.mixture import deal
from cllm.errors import DataError

FILE_NAME = "mixture.json"
VERSION = 1


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A folder beside the file, and its share of the samples, relative to the other weights."""

    folder: str
    weight: float


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file."""

    version: int
    parts: list[Part]


def part_name(number: int) -> str:
    """The folder of a part, by its number from 0 on."""
    return f"part-{number + 1}"


def write_manifest(folder: Path, weights: Sequence[float]) -> None:
    """Write the file beside its parts."""
    parts = [Part(part_name(number), float(weight)) for number, weight in enumerate(weights)]
    text = msgspec.json.format(msgspec.json.encode(Manifest(VERSION, parts)))
    write_file(folder / FILE_NAME, text + b"\n")


def read_manifest(folder: Path) -> Manifest | None:
    """The file's content; None where there is none. Raises DataError for any other."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        manifest = msgspec.json.decode(read_at_most(path, LARGEST_CONFIG), type=Manifest)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _refuse(f"{path}: {error}") from None
    if manifest.version != VERSION or not manifest.parts:
        raise _refuse(f"{path}: version {manifest.version} with {len(manifest.parts)} parts")
    # A name, not a way out of the folder.
    if wrong := [part.folder for part in manifest.parts if Path(part.folder).name != part.folder]:
        raise _refuse(f"{path}: the folder {wrong[0]!r}")
    deal([part.weight for part in manifest.parts], len(manifest.parts))
    return manifest


def _refuse(came: str) -> DataError:
    return DataError("data", came, f"what `cllm prepare --weights` wrote, version {VERSION}", "prepare the data again")
