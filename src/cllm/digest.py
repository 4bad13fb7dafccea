"""Digests of tensors, of a training state and of files (numerics rule 9): what "the same bits" means.

Every digest is a BLAKE2b of 32 bytes, written as 64 hexadecimal digits; a file's can be checked with
`b2sum -l 256 FILE`. The digest of a state hashes one line of JSON per part:

    ["tensor", NAME, DIGEST]                  each parameter in name order
    ["optimizer", NAME, DIGEST]               each array of the optimizer in name order, and
    ["optimizer", NAME, TYPE, VALUE]          each scalar, a float as float.hex() so that no bit is lost
    ["cursor", STEP, BATCH_INDEX, [SKIPPED]]  where the run stands in its data

and a tensor's own digest covers its dtype, its shape and its elements, little-endian and row-major, so that
it depends neither on padding nor on strides nor on the machine's byte order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Scalar = bool | int | float

DIGEST_BYTES = 32
CHUNK_BYTES = 1 << 20  # a file is read in pieces of this size: its digest needs no memory of its own


def bytes_digest(data: bytes) -> str:
    """The digest of some bytes, 64 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def json_digest(content: Mapping[str, Any]) -> str:
    """The digest of JSON in its shortest form: what a file that seals itself holds of the rest."""
    return bytes_digest(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def file_digest(path: Path) -> str:
    """The digest of a file's bytes; OSError where it cannot be read."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def raw_bytes(array: Array) -> memoryview:
    """The bytes of `array`, little-endian and row-major; a view, not a copy, where it is laid out so."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


def tensor_digest(array: Array) -> str:
    """The digest of one tensor: dtype, shape, elements."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    digest.update(f"{array.dtype.name} {list(array.shape)}\n".encode())
    digest.update(raw_bytes(array))
    return digest.hexdigest()


def state_digest(
    tensors: Mapping[str, Array],
    optimizer: Mapping[str, Array | Scalar],
    *,
    step: int,
    batch_index: int,
    skipped: Sequence[int],
) -> str:
    """The digest of a training state; the order in which the mappings were filled changes nothing.

    `tensors` are the parameters under their names, each in its own shape; `optimizer` holds arrays cut
    to the parameters' shapes, and scalars.
    """
    lines: list[list[object]] = [["tensor", name, tensor_digest(tensors[name])] for name in sorted(tensors)]
    lines += [_optimizer_line(name, optimizer[name]) for name in sorted(optimizer)]
    lines.append(["cursor", step, batch_index, list(skipped)])
    return bytes_digest("".join(json.dumps(line) + "\n" for line in lines).encode())


def _optimizer_line(name: str, value: Array | Scalar) -> list[object]:
    if isinstance(value, np.ndarray):
        return ["optimizer", name, tensor_digest(value)]
    text = value.hex() if isinstance(value, float) else str(int(value))
    return ["optimizer", name, type(value).__name__, text]
