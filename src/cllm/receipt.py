"""The files of incidents: what stopped a step, as JSON that seals itself, and the weights with which to replay it.

    incidents/step-00000006-batch-00000005.json      the incident at update 6, whose batch had the index 5
    incidents/step-00000006-batch-00000005.2.json    the second one there, after a resume
    incidents/weights-0123456789abcdef.safetensors   the parameters before that update, by their digest
    incidents/more.jsonl                             a line for each incident after the first 20

What is in a receipt is decided by incident.py. Numbers that are not finite are the texts "nan", "inf" and "-inf".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from cllm import atomic
from cllm.bounded import LARGEST_JSON, read_at_most
from cllm.digest import Array, bytes_digest, json_digest, tensor_digest
from cllm.errors import IncidentError
from cllm.jsonl import LineWriter, finite
from cllm.tensorfile import read_tensors, tensor_parts

FORMAT = 1
MOST = 20  # receipts of a run: weights and all, a bad run would fill the disk
OTHERS = "more.jsonl"


class _Versions(msgspec.Struct):
    cllm: str
    numerics: int
    n_shards: int
    n_threads: int
    data_digest: str
    tokenizer_digest: str


class _Seen(msgspec.Struct):
    loss: str
    shard_losses: list[str]
    gradient: str | None
    n_nonfinite: int


class _Form(msgspec.Struct):
    """What every receipt has, by which a file that was made up is known; whoever writes one may add to it."""

    run: str
    step: int
    batch_index: int
    summary: str
    decision: dict[str, Any]
    dropped: list[int]
    own_reducer: bool
    first: dict[str, Any] | None
    seen: _Seen
    again: dict[str, Any]
    shards: list[dict[str, Any]]
    growth: dict[str, Any]
    weights: dict[str, str] | None
    versions: _Versions
    config: dict[str, Any]


def is_full(folder: Path) -> bool:
    """Whether a run has as many receipts as it may."""
    return len(list(folder.glob("step-*.json"))) >= MOST


def write(folder: Path, step: int, batch_index: int, content: Mapping[str, Any]) -> Path:
    """A new file for the incident at update `step`; what is there stays. IncidentError where the disk refuses."""
    plain = finite({"format": FORMAT, **content})
    text = json.dumps({**plain, "seal": json_digest(plain)}, indent=1, allow_nan=False).encode() + b"\n"
    path = _free(folder, f"step-{step:08d}-batch-{batch_index:08d}")
    with atomic.disk_errors(IncidentError, "incident", path):
        atomic.write_file(path, text)
    return path


def write_line(folder: Path, content: Mapping[str, Any]) -> None:
    """A line for an incident that gets no receipt."""
    lines = LineWriter(folder / OTHERS)
    try:
        lines.write(content)
    finally:
        lines.close()


def read(path: Path) -> dict[str, Any]:
    """A receipt as it was written, but for numbers that are not finite, which stay texts.

    Raises IncidentError for a file that is missing, is none, or was altered.
    """
    try:
        content = json.loads(read_at_most(path, LARGEST_JSON))
    except OSError as problem:
        raise _refused(f"{path} cannot be read: {problem.strerror or problem}", "give the path of one") from problem
    except (ValueError, RecursionError) as problem:
        raise _refused(f"{path} is no JSON", "give the path of one") from problem
    seal = content.pop("seal", None) if isinstance(content, dict) else None
    if seal is None:
        raise _refused(f"{path} is no incident", "give the path of one")
    if content.get("format") != FORMAT:
        raise _refused(f"{path} has format {content.get('format')}, not {FORMAT}", "use the cllm that wrote it")
    if seal != json_digest(content):
        raise _refused(f"{path} has been altered: its seal does not match", "bring it back from a backup")
    try:
        msgspec.convert(content, _Form)
    except (msgspec.ValidationError, ValueError, SystemError) as problem:  # the latter two: half of a surrogate pair
        raise _refused(f"{path} is no incident: {problem}", "give the path of one") from problem
    return content  # type: ignore[no-any-return]


def keep_weights(folder: Path, parameters: Mapping[str, Array], saved: Path | None) -> dict[str, str]:
    """Put the parameters beside the receipts, once; returns the file's name and their digest.

    saved: the file of a checkpoint that holds them, if there is one. It gets a second name here (a hard link, where the
    file system has such), which takes no room, and stays when the checkpoint goes. Raises IncidentError.
    """
    digest = parameters_digest(parameters)
    path = folder / f"weights-{digest[:16]}.safetensors"
    with atomic.disk_errors(IncidentError, "incident", path):
        if not path.exists() and not (saved is not None and _linked(saved, path)):
            _write_weights(path, parameters)
    return {"file": path.name, "digest": digest}


def read_weights(folder: Path, record: Mapping[str, str]) -> dict[str, Array]:
    """What keep_weights has kept. Raises IncidentError if it is missing or was altered."""
    path = folder / record["file"]
    if not path.is_file():
        raise _refused(f"{path}, the weights of the incident, is missing", "bring it back from a backup")
    tensors = read_tensors(path)
    if parameters_digest(tensors) != record["digest"]:
        raise _refused(f"{path} has been altered: its digest does not match", "bring it back from a backup")
    return tensors


def parameters_digest(parameters: Mapping[str, Array]) -> str:
    """Of all parameters by name."""
    lines = [json.dumps([name, tensor_digest(parameters[name])]) for name in sorted(parameters)]
    return bytes_digest("\n".join(lines).encode())


def _linked(saved: Path, path: Path) -> bool:
    try:
        os.link(saved, path)
        atomic.sync_folder(path.parent)
    except OSError:  # another file system, or one without links: the weights are written then
        return False
    return True


def _write_weights(path: Path, parameters: Mapping[str, Array]) -> None:
    temporary = atomic.temporary_beside(path)
    try:
        atomic.write_verified(temporary, tensor_parts(parameters))
        atomic.rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _free(folder: Path, name: str) -> Path:
    names = (f"{name}.json" if number == 1 else f"{name}.{number}.json" for number in count(1))
    return next(path for path in (folder / name for name in names) if not path.exists())


def _refused(came: str, todo: str) -> IncidentError:
    return IncidentError("incident", came, "an incident as cllm wrote it, such as runs/NAME-1/incidents/*.json", todo)
