"""The headers that come with cllm; this folder is for a compiler's -I."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """The folder in which `#include "cllm/kernel_abi.h"` finds the kernel ABI."""
    return str(Path(__file__).resolve().parent)
