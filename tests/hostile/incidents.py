"""Receipts of incidents that `cllm replay` cannot read: none, altered, forged, of another cllm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cllm.digest import json_digest
from cllm.errors import CllmError, IncidentError
from tests.hostile.case import Case, Words


def incident(
    name: str, content: bytes | dict[str, Any], came: str, expected: str, todo: str,
    error: type[CllmError] = IncidentError, who: str = "incident",
) -> Case:
    def make(folder: Path) -> Words:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "bad.json").write_bytes(data)
        return ["replay", "bad.json"]

    return Case(f"incident: {name}", make, error, who, came, expected, todo)


def sealed(**content: Any) -> dict[str, Any]:
    """With a seal that fits, as a forger would make it."""
    return {**content, "seal": json_digest(content)}


def missing(folder: Path) -> Words:
    return ["replay", "gone.json"]


RECEIPT, GIVE = "an incident as cllm wrote it", "give the path of one"
CASES = [
    Case("incident: missing", missing, IncidentError, "incident", "gone.json cannot be read: No such file", RECEIPT,
         GIVE),
    incident("empty", b"", "bad.json is no JSON", RECEIPT, GIVE),
    incident("cut", b'{"format": 1, "seal": "ab', "bad.json is no JSON", RECEIPT, GIVE),
    incident("binary", bytes(range(256)), "bad.json is no JSON", RECEIPT, GIVE),
    incident("nested 100,000 deep", b"[" * 100_000, "bad.json is no JSON", RECEIPT, GIVE),
    incident("a list", b"[1]", "bad.json is no incident", RECEIPT, GIVE),
    incident("without a seal", {"format": 1}, "bad.json is no incident", RECEIPT, GIVE),
    incident("half a surrogate pair in it", sealed(format=1, run="\ud800"), "is no incident", RECEIPT, GIVE),
    incident("of another format", sealed(format=9), "has format 9, not 1", RECEIPT, "use the cllm that wrote it"),
    incident("altered", sealed(format=1) | {"step": 3}, "its seal does not match", RECEIPT, "bring it back"),
    incident("forged, with nothing in it", sealed(format=1), "is no incident: Object missing required field", RECEIPT,
             GIVE),
    incident("forged, with text for tables", sealed(format=1, config="x", versions="y", step="z"),
             "is no incident: Expected `object`, got `str`",
             RECEIPT, GIVE),
]
