"""Digests: constants that must never change, and what a digest must and must not depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cllm.digest import Array, file_digest, state_digest, tensor_digest

TENSOR = np.arange(6, dtype=np.float32).reshape(2, 3) / np.float32(8)

STATE: dict[str, Any] = {
    "tensors": {"b": TENSOR, "a": np.array([-0.0, 1.5], np.float32)},
    "optimizer": {"m/a": np.zeros(2, np.float32), "beta1_product": 0.9, "t": 1},
    "step": 1,
    "batch_index": 2,
    "skipped": [0],
}


def test_a_tensors_digest_is_this_constant() -> None:
    content = b"float32 [2, 3]\n" + b"".join(
        bytes.fromhex(f"0000{half}") for half in ("0000", "003e", "803e", "c03e", "003f", "203f")
    )
    assert tensor_digest(TENSOR) == hashlib.blake2b(content, digest_size=32).hexdigest()


def test_a_states_digest_is_this_constant() -> None:
    assert state_digest(**STATE) == "bf09a11c2d8caff079e2013e793644eeab56d722362ea6102f57f55768323f6d"


def test_a_tensors_digest_does_not_depend_on_how_it_is_stored() -> None:
    wide = np.full((2, 5), 7, np.float32)
    wide[:, 1:4] = TENSOR
    stored: list[Array] = [
        wide[:, 1:4],
        np.asfortranarray(TENSOR),
        TENSOR.astype(">f4"),
        TENSOR[::-1][::-1],
        np.lib.stride_tricks.as_strided(np.repeat(TENSOR, 2), (2, 3), (24, 8)),
    ]
    assert {tensor_digest(array) for array in stored} == {tensor_digest(TENSOR)}


@pytest.mark.parametrize(
    "other",
    [
        TENSOR.reshape(3, 2),
        TENSOR.reshape(6),
        TENSOR.astype(np.float64),
        TENSOR.view(np.int32),
        np.where(TENSOR == 0, np.float32(-0.0), TENSOR),
        np.nextafter(TENSOR, np.float32(9)),
    ],
    ids=["turned", "flat", "wider", "integers", "minus zero", "one ulp"],
)
def test_a_tensors_digest_depends_on_shape_dtype_and_every_bit(other: Array) -> None:
    assert tensor_digest(other) != tensor_digest(TENSOR)


def test_tensors_without_elements_or_axes_have_digests() -> None:
    empty = {tensor_digest(np.zeros(shape, np.float32)) for shape in [(0,), (0, 3), (3, 0), ()]}
    assert len(empty) == 4


def test_the_order_of_names_changes_nothing() -> None:
    backwards = {key: dict(reversed(STATE[key].items())) for key in ("tensors", "optimizer")}
    assert state_digest(**{**STATE, **backwards}) == state_digest(**STATE)


@pytest.mark.parametrize(
    "change",
    [
        {"step": 2},
        {"batch_index": 1},
        {"skipped": []},
        {"skipped": [1]},
        {"skipped": (0, 0)},
        {"optimizer": {**STATE["optimizer"], "t": 1.0}},
        {"optimizer": {**STATE["optimizer"], "t": True}},
        {"optimizer": {**STATE["optimizer"], "beta1_product": np.nextafter(0.9, 1).item()}},
        {"optimizer": {**STATE["optimizer"], "u": 0}},
        {"tensors": {"b": STATE["tensors"]["a"], "a": STATE["tensors"]["b"]}},
        {"tensors": {"a": STATE["tensors"]["a"]}},
        {"tensors": {**STATE["tensors"], "m/a": np.zeros(2, np.float32)}},
    ],
)
def test_everything_in_a_state_changes_its_digest(change: dict[str, Any]) -> None:
    assert state_digest(**{**STATE, **change}) != state_digest(**STATE)


@pytest.mark.parametrize("n_bytes", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_files_digest_is_that_of_its_bytes(tmp_path: Path, n_bytes: int) -> None:
    data = bytes(index * 7 % 251 for index in range(n_bytes))
    (tmp_path / "file").write_bytes(data)
    assert file_digest(tmp_path / "file") == hashlib.blake2b(data, digest_size=32).hexdigest()
