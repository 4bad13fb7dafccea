"""Scratch of a weight's gradient in float32: what gemm.pxd packs of its two operands, and sums of shards."""

from __future__ import annotations

BLOCK = 512 * 384  # tokens times rows of the weight
MOST_TOKENS, WIDEST_PANEL = 1024, 32
MOST_LEVELS, LARGEST_TILE = 7, 14 * 32


def gradient_room(height: int) -> int:
    """float32 elements a thread, for a weight of so many rows: a panel of dy, tiles of sums, a block of x."""
    block = min(BLOCK, MOST_TOKENS * height) + MOST_TOKENS
    return MOST_TOKENS * WIDEST_PANEL + MOST_LEVELS * LARGEST_TILE + block
