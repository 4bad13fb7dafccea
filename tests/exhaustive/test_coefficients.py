"""The numbers in mathf.h and mathd.h are those that tools/coefficients.py derives."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive
ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"0x[0-9a-f]{16}|-?\d+\.\d+(?:e-\d+)?f?")


def numbers(text: str) -> set[str]:
    """64-bit words as they stand, others as Python writes them, a float32's with its f."""
    words, others = set(), set()
    for n in NUMBER.findall(text):
        if n.startswith("0x"):
            words.add(n)
        else:
            others.add(repr(float(n.rstrip("f"))) + "f" * n.endswith("f"))
    return words | others


def test_headers_hold_what_the_tool_derives() -> None:
    command = [sys.executable, str(ROOT / "tools/coefficients.py")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    derived = numbers("\n".join(re.findall(r"^    .+,$", printed, re.MULTILINE)))
    headers = "".join((ROOT / "src/cllm/_kernels" / name).read_text() for name in ("mathf.h", "mathd.h"))
    assert len(derived) == 128
    assert derived - numbers(headers) == set()
