"""A set of digests that takes little more memory than they have: 21 to 43 bytes for each of 16.

Python's own takes a hundred, and the texts of a preparation may be some hundred millions.
"""

from __future__ import annotations

from cllm.bounded import check_memory

BYTES = 16  # of a digest: two of 10^9 different texts share one with a chance of 10^-21
_EMPTY = bytes(BYTES)
_FIRST = 1 << 10


class DigestSet:
    """Open addressing with linear probing; a table is at most three quarters full."""

    def __init__(self) -> None:
        self.n = 0
        self._table = bytearray(BYTES * _FIRST)

    def add(self, digest: bytes) -> bool:
        """Add the first 16 bytes of a digest; whether they were not there. MemoryLimitError where they do not fit."""
        key = digest[:BYTES]
        if not self._place(key):
            return False
        self.n += 1
        if 4 * self.n > 3 * (len(self._table) // BYTES):
            self._grow()
        return True

    def _place(self, key: bytes) -> bool:
        table, n_slots = self._table, len(self._table) // BYTES
        slot = int.from_bytes(key[:8], "little") & (n_slots - 1)
        while (found := table[BYTES * slot : BYTES * (slot + 1)]) != _EMPTY:
            if found == key:
                return False
            slot = (slot + 1) & (n_slots - 1)
        table[BYTES * slot : BYTES * (slot + 1)] = key
        return True

    def _grow(self) -> None:
        todo = "prepare the text in parts, or without --dedup"
        check_memory({"digests": 3 * len(self._table)}, f"{self.n:,} different documents so far", todo)
        before, self._table = self._table, bytearray(2 * len(self._table))
        for first in range(0, len(before), BYTES):
            key = bytes(before[first : first + BYTES])
            if key != _EMPTY:
                self._place(key)
