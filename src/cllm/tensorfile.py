"""Tensors in safetensors files, written piece by piece from where they lie.

The writer is ours because of what the library's cost (0.8.0): `serialize` holds two copies of all tensors at
once (256 MB of them took 512 MB more), and `serialize_file` makes files of mode 0600 and reports a full disk
as a sentence without an errno. Reading, and checking what was written, is left to the library.
Format: 8 bytes little-endian length of the header, the header in JSON, the tensors' bytes without gaps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from cllm.bounded import check_memory
from cllm.digest import Array, raw_bytes
from cllm.errors import CheckpointError

DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}


def tensor_parts(tensors: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file in order: length and header first, then each tensor without a copy.

    Raises CheckpointError for a dtype that the format does not know.
    """
    # Wide elements first, as the library does it: then every tensor starts at a multiple of its item's size.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # transformers refuses files that lack it
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": _dtype(name, tensors[name]),
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        yield raw_bytes(tensors[name])


def read_tensors(path: Path) -> dict[str, Array]:
    """All tensors of a safetensors file by name, writable; CheckpointError if it is not one.

    MemoryLimitError where this process may not hold them.
    """
    with _readable(path):
        check_memory({"tensors": path.stat().st_size}, f"the tensors of {path}", "use smaller weights")
        return {name: np.require(tensor, requirements="W") for name, tensor in load_file(path).items()}


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes in a safetensors file, from its header; CheckpointError if it is not one."""
    with _readable(path), safe_open(path, framework="np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as problem:
        raise CheckpointError(
            "checkpoint",
            f"{path} cannot be read: {problem}",
            "a whole safetensors file",
            "use another checkpoint",
        ) from problem


def _dtype(name: str, tensor: Array) -> str:
    if tensor.dtype.name not in DTYPES:
        raise CheckpointError(
            "checkpoint",
            f"tensor {name} has dtype {tensor.dtype.name}",
            f"one of {', '.join(DTYPES)}",
            "keep it in one of these dtypes, or leave it out of state_dict()",
        )
    return DTYPES[tensor.dtype.name]
