"""Our writer of safetensors files against the library's reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from cllm.atomic import write_verified
from cllm.digest import Array, tensor_digest
from cllm.errors import CheckpointError
from cllm.tensorfile import DTYPES, read_shapes, read_tensors, tensor_parts

SETS: dict[str, dict[str, Array]] = {
    "none": {},
    "one": {"a": np.arange(3, dtype=np.float32)},
    "no axes, no elements": {"scalar": np.array(2.5, np.float32), "empty": np.zeros((0, 4), np.float32)},
    "all dtypes": {name: np.ones((2, 3), name) for name in DTYPES},
    "odd sizes": {"c": np.ones(3, np.uint8), "b": np.ones(5, np.float64), "a": np.ones(1, np.float16)},
    "strided": {"t": np.arange(12, dtype=np.float32).reshape(3, 4).T, "s": np.arange(9, dtype=np.int32)[::2]},
    "big-endian": {"x": np.arange(4, dtype=">f4")},
    "strange names": {'é"\\\n': np.ones(2, np.float32), "": np.ones(1, np.float32)},
}


@pytest.mark.parametrize("name", SETS)
def test_the_library_reads_what_we_write(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file.safetensors"
    write_verified(path, tensor_parts(SETS[name]))
    read = read_tensors(path)
    expected = {key: tensor_digest(tensor) for key, tensor in SETS[name].items()}
    assert {key: tensor_digest(tensor) for key, tensor in read.items()} == expected
    assert read_shapes(path) == {key: tensor.shape for key, tensor in SETS[name].items()}


def test_the_file_is_marked_for_transformers_and_starts_every_tensor_at_a_multiple_of_its_item(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file.safetensors"
    write_verified(path, tensor_parts(SETS["odd sizes"]))
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"format": "pt"}
    data = path.read_bytes()
    n_header = int.from_bytes(data[:8], "little")
    assert n_header % 8 == 0
    assert data[8 + n_header :] == np.ones(5).tobytes() + np.ones(1, np.float16).tobytes() + b"\1\1\1"


def test_what_was_read_can_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_verified(path, tensor_parts(SETS["one"]))
    read_tensors(path)["a"] += 1  # an optimizer updates the arrays that it is given in place


def test_a_dtype_that_the_format_lacks_is_refused() -> None:
    with pytest.raises(CheckpointError, match="tensor z has dtype complex128"):
        list(tensor_parts({"z": np.ones(2, np.complex128)}))


def whole() -> bytes:
    return b"".join(tensor_parts(SETS["one"]))


@pytest.mark.parametrize("read", [read_tensors, read_shapes])
@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 7, whole()[:-1], whole() + b"\0", whole()[:20], b"\xff" * 64, b"{}", b"PK\3\4" + b"\0" * 99],
)
def test_other_files_are_refused_by_name(tmp_path: Path, data: bytes, read: Any) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"file\.safetensors cannot be read"):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors cannot be read"):
        read_tensors(tmp_path / "gone.safetensors")
