"""state.json of a checkpoint: the record that says what the other files are, and seals itself.

The record holds the digest of every other file; its own bytes are covered by `seal`, the digest of the record
without it in JSON's shortest form. A float that JSON cannot write, as in a check that remembers a smallest
loss and starts at infinity, stands there as {"non-finite float": "inf"}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cllm.bounded import LARGEST_JSON, read_at_most
from cllm.digest import json_digest
from cllm.errors import CheckpointError

NAME = "state.json"
FORMAT = 3  # raised when an older cllm could misread the record, or this one lacks something in an older record
NON_FINITE = "non-finite float"


class FileRecord(msgspec.Struct, frozen=True):
    """What a file of the checkpoint must be."""

    n_bytes: int
    blake2b: str


class StateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of state.json."""

    format: int
    step: int
    batch_index: int
    skipped: tuple[int, ...]
    validation_loss: float | None
    n_shards: int
    digest: str  # of the state, numerics rule 9
    numerics_version: int
    cllm_version: str
    data_digest: str  # of the text that was learned from, see data/identity.py
    tokenizer_digest: str
    plugins: list[Any]
    optimizer: dict[str, bool | int | float]  # the scalars; the arrays are in optimizer.safetensors
    checks: dict[str, Any]
    course: dict[str, Any]  # see course.py
    files: dict[str, FileRecord]


def encode(record: StateRecord) -> bytes:
    """The bytes of state.json, indented for people; CheckpointError for a value that is not plain."""
    content = {field: plain(getattr(record, field), field) for field in StateRecord.__struct_fields__}
    content["seal"] = json_digest(content)
    return json_bytes(content, "state")


def read(folder: Path) -> StateRecord:
    """The record of a checkpoint folder; CheckpointError if it is missing, foreign or altered."""
    path = folder / NAME
    try:
        data = read_at_most(path, LARGEST_JSON)
        content = json.loads(data)
        # Several texts have one meaning (4e-324 is 5e-324, blanks): only the one that was written passes.
        altered = data != _text(content)
        seal = content.pop("seal", None) if isinstance(content, dict) else None
        if seal is None:
            raise _error(path, "is not a record of cllm")
        _check_format(path, content.get("format"))
        if altered or seal != json_digest(content):
            raise _error(path, "has been altered: its seal does not match")
        return msgspec.convert(_revived(content), StateRecord)
    except OSError as problem:
        raise _error(path, f"cannot be read: {problem.strerror or problem}") from problem
    # Also what msgspec 0.19 raises for half of a surrogate pair: SystemError.
    except (ValueError, TypeError, OverflowError, RecursionError, SystemError, msgspec.ValidationError) as problem:
        raise _error(path, f"is not a record of cllm: {problem}") from problem


def json_bytes(value: Any, where: str) -> bytes:
    """`value` as a JSON file for people; CheckpointError, which says where, for a value that is not plain."""
    return _text(plain(value, where))


def plain(value: Any, where: str) -> Any:
    """`value` as JSON holds it without loss, tuples as lists; CheckpointError, saying where, for the rest."""
    if isinstance(value, float) and not math.isfinite(value):
        return {NON_FINITE: repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, FileRecord):
        return {"n_bytes": value.n_bytes, "blake2b": value.blake2b}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    raise CheckpointError(
        "checkpoint",
        f"{where} is a {type(value).__name__}",
        "numbers, strings, lists, and dicts with string keys",
        "let state_dict() return plain values (array.tolist(), str(key))",
    )


def _revived(value: Any) -> Any:
    """The values that `plain` was given, but for tuples, which stay lists."""
    if isinstance(value, list):
        return [_revived(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {NON_FINITE}:
            return float(value[NON_FINITE])
        return {key: _revived(item) for key, item in value.items()}
    return value


def _text(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _check_format(path: Path, found: object) -> None:
    if found != FORMAT:
        raise CheckpointError(
            "checkpoint",
            f"{path} has format {found}",
            f"format {FORMAT}",
            "use the cllm that wrote it, or a newer one",
        )


def _error(path: Path, came: str) -> CheckpointError:
    return CheckpointError(
        "checkpoint", f"{path} {came}", "the file as it was saved", "use an older checkpoint, or save again"
    )
