"""What the suites have counted, for docs/explanation/reliability.md: its table is generated from it, never typed.

    CLLM_EVIDENCE=evidence.json python -m pytest tests/durability
    python -m tools.reliability evidence.json

Without CLLM_EVIDENCE nothing is kept, nor of a process that has run a part of the tests (pytest -n 2). Of a row the
last record stands.
"""

from __future__ import annotations

import json
import os
from pathlib import Path


def record(row: str, **numbers: int | float | str) -> None:
    """Keep what a suite counted under the name of a row of the table (tools/reliability.py lists them)."""
    name = os.environ.get("CLLM_EVIDENCE")
    if not name or "PYTEST_XDIST_WORKER" in os.environ:
        return
    path = Path(name)
    known = json.loads(path.read_text()) if path.exists() else {}
    known[row] = numbers
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
