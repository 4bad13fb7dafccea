"""Reads event files by their format, as TensorBoard does: records, and what of them is shown."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog


def masked(data: bytes) -> int:
    """The checksum of a record, as TensorFlow's format has it."""
    value = int(crc32c(data))
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path: Path) -> Iterator[Any]:
    data = path.read_bytes()
    while data:
        (size,), (check,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        content, (content_check,) = data[12 : 12 + size], struct.unpack("<I", data[12 + size : 16 + size])
        assert (check, content_check) == (masked(data[:8]), masked(content))
        yield Event.FromString(content)
        data = data[16 + size :]


def is_text(point: tuple[int, Any]) -> bool:
    return isinstance(point[1], str)


def shown(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """Points and texts by name, as TensorBoard would show them: a session that starts takes back later points alone."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        for event in records(path):
            if event.session_log.status == SessionLog.START:
                found = {tag: [p for p in points if p[0] < event.step or is_text(p)] for tag, points in found.items()}
            for value in event.summary.value:
                content = value.tensor.string_val[0].decode() if value.HasField("tensor") else value.simple_value
                found.setdefault(value.tag, []).append((event.step, content))
    return found
