"""bfloat16: what products in it make of their operands, and the scratch that their kernels take."""

from __future__ import annotations

import numpy as np

from cllm.ops.kind import Array

ROOM, PANEL = 128 * 1024 + 64, 512 // 2 * 32  # pairs, of gemm_bf16.pxd


def rounded(x: Array) -> Array:
    """x to the nearest bfloat16, ties to even, as float64; what would be subnormal is a zero (numerics rule 12)."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    near = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    near = np.where(bits & np.uint32(0x7F800000), near, bits & np.uint32(0x80000000))
    return np.where(np.isnan(x), np.nan, near.view(np.float32).astype(np.float64))
