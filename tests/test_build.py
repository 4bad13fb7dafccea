"""Each tox environment asserts that it tests the build that it means to."""

from __future__ import annotations

import os

import pytest

from cllm._kernels import cpu


def test_openmp_is_what_this_environment_asked_for() -> None:
    expected = os.environ.get("CLLM_EXPECT_OPENMP")
    if expected is None:
        pytest.skip("not run by tox")
    assert (cpu.openmp() > 0) == (expected == "1")
