"""PyTorch in the same process, with its OpenMP runtime: the bits stay, in a fork as well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT
from tests.test_golden import RUNS

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("order", ["before", "between"])
def test_pytorch_beside_cllm_changes_no_bit(order: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    script = [sys.executable, "-m", "tests.packaging.beside", order, str(tmp_path), "torch"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digests"] == [RUNS["plain"]] * 3
