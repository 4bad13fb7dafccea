"""state.json: every value comes back as it was, and no altered or foreign file passes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cllm import statefile
from cllm.digest import json_digest
from cllm.errors import CheckpointError
from cllm.statefile import FileRecord, StateRecord

RECORD = StateRecord(
    format=statefile.FORMAT,
    step=7,
    batch_index=9,
    skipped=(2, 3),
    validation_loss=1.25,
    n_shards=4,
    digest="ab" * 32,
    numerics_version=1,
    cllm_version="0.1",
    data_digest="da" * 32,
    tokenizer_digest="",
    plugins=[{"name": "x", "provides": ["reducer y"]}],
    optimizer={"product": 0.1 + 0.2, "one": 1.0, "t": 1, "big": 2**70, "on": True, "zero": -0.0},
    checks={"spike": {"window": [0.1, 5e-324, 1.7976931348623157e308], "best": -math.inf, "seen": None}},
    course={"counts": {"skip": 2}, "recent": [{"step": 7, "loss": 0.1}]},
    files={"model.safetensors": FileRecord(12, "cd" * 32)},
)


def write(folder: Path, data: bytes) -> None:
    (folder / statefile.NAME).write_bytes(data)


def test_a_record_comes_back_to_the_bit_and_type(tmp_path: Path) -> None:
    write(tmp_path, statefile.encode(RECORD))
    read = statefile.read(tmp_path)
    assert read == RECORD
    assert {name: (type(value), str(value)) for name, value in read.optimizer.items()} == {
        name: (type(value), str(value)) for name, value in RECORD.optimizer.items()
    }


def test_the_file_is_plain_json() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(statefile.encode(RECORD), parse_constant=refuse)
    assert content["checks"]["spike"]["best"] == {"non-finite float": "-inf"}


def test_no_flipped_bit_passes(tmp_path: Path) -> None:
    data = statefile.encode(RECORD)
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1 << position % 8
        write(tmp_path, bytes(altered))
        with pytest.raises(CheckpointError, match=r"state\.json"):
            statefile.read(tmp_path)


def test_no_truncated_file_passes(tmp_path: Path) -> None:
    data = statefile.encode(RECORD)
    for end in [*range(0, len(data), 7), *range(len(data) - 9, len(data))]:
        write(tmp_path, data[:end])
        with pytest.raises(CheckpointError, match=r"state\.json"):
            statefile.read(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"seal"',
        b'{"seal": 1}',
        b'{"seal": 1, "format": 3}',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"\xff\xfe\0",
        b"PK\3\4",
        b'{"seal": NaN, "format": 3}',
        b'{"format": 1, "seal": "\\ud800"}',
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, data: bytes) -> None:
    write(tmp_path, data)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        statefile.read(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state\.json cannot be read: No such file"):
        statefile.read(tmp_path)


@pytest.mark.parametrize(
    "change", [{"step": "7"}, {"files": []}, {"optimizer": {"a": "text"}}, {"skipped": [0.5]}, {"digest": None}]
)
def test_a_record_of_wrong_types_is_refused_though_its_seal_is_right(tmp_path: Path, change: dict[str, Any]) -> None:
    content = {**json.loads(statefile.encode(RECORD)), **change}
    del content["seal"]
    content["seal"] = json_digest(content)
    write(tmp_path, statefile.json_bytes(content, "state"))
    with pytest.raises(CheckpointError, match=f"is not a record of cllm: .*{next(iter(change))}"):
        statefile.read(tmp_path)


def test_a_later_format_says_what_to_do(tmp_path: Path) -> None:
    content = {**json.loads(statefile.encode(RECORD)), "format": 99}
    write(tmp_path, json.dumps(content).encode())
    with pytest.raises(CheckpointError, match="has format 99; expected format 3; use the cllm that wrote it"):
        statefile.read(tmp_path)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (np.float32(1), r"checks\.spike\.x is a float32"),
        (np.zeros(2), r"checks\.spike\.x is a ndarray"),
        ({1: 2}, r"checks\.spike\.x is a dict"),
        ([0, {"y": {3}}], r"checks\.spike\.x\[1\]\.y is a set"),
        (b"bytes", r"checks\.spike\.x is a bytes"),
    ],
)
def test_a_value_that_would_not_come_back_is_refused_with_its_place(value: Any, where: str) -> None:
    with pytest.raises(CheckpointError, match=where):
        statefile.plain({"spike": {"x": value}}, "checks")
