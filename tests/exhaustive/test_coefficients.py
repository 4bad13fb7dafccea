"""The numbers in mathf.h and mathd.h are those that tools/coefficients.py derives."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive
ROOT = Path(__file__).parents[2]


def test_headers_hold_what_the_tool_derives() -> None:
    command = [sys.executable, str(ROOT / "tools/coefficients.py")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tables = re.findall(r"^    (\S+),$", printed, re.MULTILINE)
    headers = "".join((ROOT / "src/cllm/_kernels" / name).read_text() for name in ("mathf.h", "mathd.h"))
    numbers = set(re.findall(r"-?[\w.]+(?:e-\d+)?", headers))
    assert len(tables) == 128
    assert [number for number in tables if not same_number_in(numbers, number)] == []


def same_number_in(numbers: set[str], number: str) -> bool:
    """Trailing zeros aside."""
    return any(value(n) == value(number) for n in numbers if n[-1:] == number[-1:] or not number.endswith("f"))


def value(number: str) -> str | float:
    try:
        return float(number.removesuffix("f"))
    except ValueError:
        return number
